"""Import a language model from the `config.json` of a Hugging Face repository.

Half of the configs in the wild nest the language model in `text_config`; experts go by four names, heads and
layers by as many. What decides memory and time is read or refused, never guessed: layers that the catalog cannot
express (cross-attention, weights shared by layers, ...) are an error with the field's name and value.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.catalog.entry import Provenance
from planner.catalog.imports.families import CLASSES
from planner.catalog.imports.huggingface_attention import read_mixers
from planner.catalog.imports.huggingface_blocks import read_blocks
from planner.catalog.imports.huggingface_feed_forward import read_feed_forward
from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.imports.huggingface_layers import n_single_block_layers, read_layers
from planner.catalog.imports.huggingface_precision import read_precisions
from planner.catalog.imports.huggingface_refusals import refuse_inexpressible, refuse_unread
from planner.catalog.imports.llm_yaml import llm_to_yaml
from planner.catalog.layers import AnyMixer, DenseMlp, Experts
from planner.catalog.llm import Llm
from planner.catalog.parameters import n_parameters
from planner.errors import CatalogError
from planner.parsing import is_file, load_json, read_bytes

__all__ = ["import_hf_config", "llm_from_hf_config", "llm_to_yaml"]

N_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN_SIZE = ("hidden_size", "n_embd", "n_embed", "d_model")
VOCABULARY_SIZE = ("vocab_size", "padded_vocab_size")
MAX_CONTEXT = (
    "max_position_embeddings", "model_max_length", "n_positions", "seq_length", "max_seq_len", "max_sequence_length",
    "n_ctx", "max_len",
)  # fmt: skip
QUANTIZATION_FILE = "hf_quant_config.json"
QUANTISED_NAME = re.compile(
    r"(?i)(?<![a-z0-9])(?:NV|MX)?FP[48](?![0-9a-z])|(?<![a-z])(?:AWQ|GPTQ|W[48]A\d+|INT[48]|bnb|[48]-?bit)(?![a-z0-9])"
)
LEARNT_POSITIONS = ("gpt2", "gpt-sw3", "gpt_bigcode", "gpt_neo", "opt")
# Beyond every published model; keeps a mistyped layer count from becoming a long loop.
MOST_LAYERS = 10_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def import_hf_config(path: str | Path, name: str | None = None) -> Llm:
    """Read a `config.json` into a catalog entry.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds it as `config.json`.
    name : str, optional
        Name of the entry; by default from the folder (or Hugging Face cache folder) or the file's own name.

    Returns
    -------
    Llm
        `n_parameters` is counted from the architecture and marked as derived.

    Raises
    ------
    CatalogError
        Not readable, empty, not UTF-8, not JSON (with the line), not an object, a missing or mistyped field, or an
        architecture the catalog cannot express.

    Notes
    -----
    ModelOpt keeps the quantisation in a second file; `hf_quant_config.json` beside the config is read as well.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = path / "config.json"
    config = _read_json(path)
    beside = path.with_name(QUANTIZATION_FILE)
    if isinstance(config, dict) and config.get("quantization_config") is None and is_file(beside):
        config = {**config, "quantization_config": _modelopt_quantization(_read_json(beside), str(beside))}
    llm = llm_from_hf_config(config, name=name or _name_from(path), where=str(path))
    if warning := _unquantised_warning(config, path):
        llm = llm.model_copy(update={"notes": " ".join(filter(None, [warning, llm.notes]))})
    return llm


def _read_json(path: Path) -> Any:
    try:
        text = read_bytes(path, CatalogError).decode("utf-8-sig")
    except OSError as error:
        raise CatalogError(
            "cannot read the model config", where=str(path), value=error.strerror, fix="give the path of a config.json"
        ) from None
    except UnicodeDecodeError as error:
        raise CatalogError(
            "not a text file", where=str(path), value=f"byte {error.start} is not UTF-8", fix="give a config.json"
        ) from None
    if not text.strip():
        raise CatalogError("the file is empty", where=str(path), fix="give the config.json of a model repository")
    try:
        return load_json(text, str(path), CatalogError)
    except json.JSONDecodeError as error:
        raise CatalogError(
            f"not JSON: {error.msg}",
            where=f"{path}:{error.lineno}",
            value=_line(text, error.lineno),
            fix="download the file again, or mend it at this line",
        ) from None
    except (RecursionError, ValueError) as error:
        raise CatalogError("not JSON that can be read", where=str(path), value=str(error)) from None


def _modelopt_quantization(beside: object, where: str) -> dict[str, object]:
    """Put the contents of a ModelOpt `hf_quant_config.json` into the form of a `quantization_config`."""
    quantization = beside.get("quantization") if isinstance(beside, Mapping) else None
    if not isinstance(quantization, Mapping):
        raise CatalogError(
            "quantization is missing", where=where, rule=f"{QUANTIZATION_FILE} says how the weights are quantised"
        )
    return {
        "quant_method": "modelopt",
        "quant_algo": quantization.get("quant_algo"),
        "kv_cache_scheme": quantization.get("kv_cache_quant_algo"),
        "ignore": quantization.get("exclude_modules"),
        "quantized_layers": quantization.get("quantized_layers"),
    }


def _unquantised_warning(config: object, path: Path) -> str | None:
    """Say so where a name tells of quantised weights and neither the config nor a file beside it does."""
    text = config.get("text_config") if isinstance(config, Mapping) else None
    for part in (config, text):
        if isinstance(part, Mapping) and (part.get("quantization_config") or part.get("compression_config")):
            return None
    given = config.get("_name_or_path") if isinstance(config, Mapping) else None
    names = [_folder_of(path), path.stem, given if isinstance(given, str) else ""]
    told = next((found[0] for name in names if (found := QUANTISED_NAME.search(name))), None)
    if told is None:
        return None
    return (
        f"WARNING: the name says {told}, but config.json has no quantization_config and no {QUANTIZATION_FILE} is "
        "beside it; the weights are counted unquantised. Put the file of the model repository there."
    )


def llm_from_hf_config(config: Mapping[str, object], *, name: str, where: str = "config.json") -> Llm:
    """Turn a parsed `config.json` into a catalog entry.

    Parameters
    ----------
    config : mapping
        The parsed file.
    name : str
        Name of the entry: lower-case letters, digits, dot, dash and underscore.
    where : str
        The file, for messages and for the entry's source.

    Returns
    -------
    Llm
        The language model alone: vision towers and multi-token-prediction heads are left out. `provenance` marks
        every value that is not in the file.

    Raises
    ------
    CatalogError
        Naming the field and its value.
    """
    if not _NAME.fullmatch(name):
        raise CatalogError(
            "not a name for a catalog entry",
            where="--name",
            value=repr(name),
            rule="lower-case letters, digits, dot, dash and underscore",
            fix="choose one like llama-3.1-70b",
        )
    fields = ConfigFields(config, where)
    refuse_inexpressible(fields)  # first: what is missing matters less than what cannot be planned
    n_layers = _n_layers(fields)
    hidden_size = fields.integer(*HIDDEN_SIZE)
    max_context_tokens = _max_context_tokens(fields)
    mixers, mlps, experts = _layers(fields, n_layers, hidden_size, max_context_tokens)
    precisions = read_precisions(fields, n_layers=n_layers, has_experts=experts is not None)
    tied = _tied_embeddings(fields)
    vocabulary_size = fields.integer(*VOCABULARY_SIZE)
    other, looked_up = _other_parameters(fields, n_layers, hidden_size)
    if fields.from_class:
        names = ", ".join(sorted(fields.from_class))
        fields.remarks.append(
            f"Left out by config.json, as the {fields.model_type} class of {CLASSES} has it: {names}."
        )
    counted = Provenance(source="counted from the architecture by planner", kind="derived")
    try:
        llm = Llm(
            name=name,
            title=name,
            source=f"Hugging Face config, {where}",
            kind="datasheet",
            notes=_notes(fields),
            n_layers=n_layers,
            hidden_size=hidden_size,
            vocabulary_size=vocabulary_size,
            tied_embeddings=tied,
            mixers=tuple(mixers),
            mlps=tuple(mlps),
            experts=experts,
            other_parameters=other,
            looked_up_parameters=looked_up,
            weight_precision=precisions.weight,
            expert_precision=precisions.expert,
            mixer_precision=precisions.mixer,
            kv_precision=precisions.kv,
            max_context_tokens=max_context_tokens,
            draft_layers=fields.n_draft_layers(),
            n_parameters=1.0,  # replaced below, once there is an architecture to count
            provenance={**fields.assumed, "n_parameters": counted},
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise CatalogError(
            f"{'.'.join(str(part) for part in first['loc']) or 'the model'}: {first['msg']}", where=where
        ) from None
    return llm.model_copy(update={"n_parameters": n_parameters(llm)})


def _n_layers(fields: ConfigFields) -> int:
    found = n_single_block_layers(fields)
    if found is None:
        found = fields.integer(*N_LAYERS)
        if fields.model_type.startswith("longcat") and fields.text.get("num_hidden_layers") is None:
            found *= 2  # num_layers of two attentions each
    if found > MOST_LAYERS:
        raise fields.error(fields.find(*N_LAYERS)[0], f"must not exceed {MOST_LAYERS}")
    return found


def _layers(
    fields: ConfigFields, n_layers: int, hidden_size: int, max_context_tokens: int
) -> tuple[list[AnyMixer], list[DenseMlp], Experts | None]:
    if fields.text.get("block_configs"):
        return *read_blocks(fields, n_layers=n_layers, hidden_size=hidden_size), None
    layers = read_layers(fields, n_layers=n_layers, max_context_tokens=max_context_tokens)
    refuse_unread(fields, {layer.mixer for layer in layers})
    mixers = read_mixers(fields, layers, hidden_size=hidden_size)
    return mixers, *read_feed_forward(fields, layers, hidden_size=hidden_size)


def _other_parameters(fields: ConfigFields, n_layers: int, hidden_size: int) -> tuple[int, int]:
    """Weights beside layers: learnt positions; Gemma's embeddings by layer, their projections, mixing of streams."""
    width = fields.optional_integer("hidden_size_per_layer_input") or 0
    looked_up = 0
    if fields.model_type in LEARNT_POSITIONS:
        looked_up = _max_context_tokens(fields) * hidden_size
    if width:
        looked_up += (fields.optional_integer("vocab_size_per_layer_input") or 0) * n_layers * width
    other = 3 * hidden_size * width * n_layers
    rank, streams = fields.optional_integer("laurel_rank") or 0, fields.optional_integer("altup_num_inputs") or 1
    return other + 2 * hidden_size * rank * n_layers + 2 * (streams - 1) * hidden_size**2, looked_up


def _max_context_tokens(fields: ConfigFields) -> int:
    # Several names may stand beside each other with different meanings (n_ctx, seq_length); the first one decides.
    for name in MAX_CONTEXT:
        found = fields.optional_integer(name, minimum=1)
        if found is not None:
            return found
    raise fields.missing(*MAX_CONTEXT)


def _tied_embeddings(fields: ConfigFields) -> bool:
    for config in (fields.text, fields.outer):
        value = config.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
        if value is not None:
            raise fields.error("tie_word_embeddings", "must be true or false")
    if fields.family:
        source = f"transformers, {fields.model_type} configuration: default where left out"
        fields.assume("tied_embeddings", source, family_default=True)
        return fields.family.tied
    fields.assume("tied_embeddings", "not in config.json; taken as stored twice, which needs more memory")
    return False


def _notes(fields: ConfigFields) -> str | None:
    notes = list(fields.remarks)
    if fields.is_nested:
        notes.append("The language model alone; encoders of other modalities are left out.")
    if fields.n_draft_layers():
        notes.append("Multi-token-prediction heads are left out of the weights.")
    return " ".join(notes) or None


def _name_from(path: Path) -> str:
    """Derive a catalog name: from the file's stem, else its folder, else the Hugging Face cache folder."""
    stem = re.sub(r"[_-]?config$", "", path.stem)
    if not stem:
        stem = _folder_of(path)
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.split("--")[-1].lower()).strip("._-")
    return name or "model"


def _folder_of(path: Path) -> str:
    folder = path.absolute().parent
    if re.fullmatch(r"[0-9a-f]{40}", folder.name):  # .../models--org--name/snapshots/<commit>/config.json
        folder = folder.parent.parent
    return folder.name


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return line if len(line) <= 80 else line[:77] + "..."
