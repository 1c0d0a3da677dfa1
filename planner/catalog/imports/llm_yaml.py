"""Write an LLM as the text of a catalog file that loads back to the same entry."""

from __future__ import annotations

from pydantic import BaseModel

from planner.catalog.llm import Llm

_INDENT = "  "


def llm_to_yaml(llm: Llm) -> str:
    """Render a catalog file.

    Parameters
    ----------
    llm : Llm
        The entry. Its name is not part of the text: it is the file's stem.

    Returns
    -------
    str
        YAML that validates back to `llm`, each field with its meaning as a comment.
    """
    lines = [f"# {llm.name}: one large language model. Check the values, then put this file into"]
    lines += ["# models/ of a catalog folder, named after the model.", ""]
    lines += [f"title: {_scalar(llm.title)}", f"source: {_scalar(llm.source)}", f"kind: {llm.kind}"]
    if llm.notes is not None:
        lines.append(f"notes: {_scalar(llm.notes)}")
    lines += ["", f"n_layers: {llm.n_layers}", f"hidden_size: {llm.hidden_size}"]
    lines += [f"vocabulary_size: {llm.vocabulary_size}"]
    lines += [f"tied_embeddings: {_scalar(llm.tied_embeddings)}  # whether the LM head is the embedding table"]
    for name, parts, comment in (
        ("attention", llm.mixers, "how layers mix tokens; decides what is kept of a sequence"),
        ("mlp", llm.mlps, "dense feed-forward block; gated: three matrices, else two"),
    ):
        if len(parts) == 1:
            lines += ["", f"{name}:  # {comment}", *_block(parts[0], _INDENT)]
        elif parts:
            lines += ["", f"{name}:  # {comment}"]
            for part in parts:
                first, *others = _block(part, 2 * _INDENT)
                lines += [f"{_INDENT}- {first.strip()}", *others]
    if llm.experts is not None:
        lines += ["", "experts:  # in all layers but n_dense_layers; shared width is of all shared ones together"]
        lines += _block(llm.experts, _INDENT)
    for name in ("other_parameters", "looked_up_parameters", "draft_layers", "draft_acceptance"):
        if value := getattr(llm, name):
            lines.append(f"{name}: {value}")
    lines += ["", f"weight_precision: {llm.weight_precision}  # as released"]
    if llm.expert_precision is not None:
        lines.append(f"expert_precision: {llm.expert_precision}  # of expert weights")
    if llm.mixer_precision is not None:
        lines.append(f"mixer_precision: {llm.mixer_precision}  # of the weights that mix tokens")
    lines.append(f"kv_precision: {llm.kv_precision}  # of the KV cache, as usually served")
    lines.append(f"max_context_tokens: {llm.max_context_tokens}")
    lines.append(f"n_parameters: {_number(llm.n_parameters)}  # {llm.n_parameters / 1e9:.4g} billion")
    if llm.provenance:
        lines += ["", "provenance:  # of values that have another source than the above"]
        for path, origin in llm.provenance.items():
            lines.append(f"{_INDENT}{_scalar(path)}: {{source: {_scalar(origin.source)}, kind: {origin.kind}}}")
    return "\n".join(lines) + "\n"


def _block(part: BaseModel, indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in part.model_dump(exclude_none=True, exclude_defaults=True).items():
        if isinstance(value, dict):
            inner = ", ".join(f"{key}: {_scalar(item)}" for key, item in value.items())
            lines.append(f"{indent}{name}: {{{inner}}}")
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}")
    return lines


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    text = str(value)
    # Plain only what begins with a letter: .inf and .nan are numbers.
    if (
        text[:1].isalpha()
        and text.isascii()
        and text.replace("_", "").replace(".", "").isalpha()
        and text not in _RESERVED
    ):
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


_RESERVED = {"true", "false", "null", "True", "False", "Null", "TRUE", "FALSE", "NULL", "yes", "no", "on", "off"}


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and value < 1e15 else repr(value)
