"""Weight and KV-cache precision of a Hugging Face config, with its `quantization_config`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.precision import Precision
from planner.errors import CatalogError

TORCH_DTYPES: dict[str, Precision] = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float8_e4m3fn": "fp8",
}
EXPERT_TYPES: dict[str, Precision] = {"fp4": "fp4", "mxfp4": "mxfp4", "nvfp4": "fp4", "fp8": "fp8", "bf16": "bf16"}
_BY_BITS: dict[tuple[str, int], Precision] = {
    ("float", 8): "fp8",
    ("float", 4): "fp4",
    ("int", 8): "int8",
    ("int", 4): "int4",
}
_MODELOPT: dict[str, Precision] = {
    "FP8": "fp8",
    "FP8_PB_WO": "fp8",
    "FP8_BLOCK": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8",
    "NVFP4": "fp4",
    "NVFP4_AWQ": "fp4",
    "W4A16_NVFP4": "fp4",
    "W4A8_NVFP4_FP8": "fp4",
    "MXFP4": "mxfp4",
    "W4A8_MXFP4_FP8": "mxfp4",
    "INT4_AWQ": "int4",
    "W4A16_AWQ": "int4",
    "W4A16": "int4",
    "W4A8_AWQ": "int4",
    "W8A16": "int8",
    "W8A8_SQ_PER_CHANNEL": "int8",
    "INT8": "int8",
}
_INTEGERS = {
    "gptq", "awq", "auto-round", "autoround", "intel/auto-round", "moe_wna16", "awq_marlin", "gptq_marlin",
}  # fmt: skip
# What mixes tokens, by the names of matrices in model repositories: attention, latent attention, linear, state space.
_MIXING = (
    ("self_attn", ("q_proj", "k_proj", "v_proj", "o_proj")),
    ("self_attn", ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")),
    ("linear_attn", ("in_proj_qkv", "out_proj")),
    ("linear_attn", ("in_proj_qkvz", "out_proj")),
    ("mixer", ("q_proj", "k_proj", "v_proj", "o_proj")),
    ("mixer", ("in_proj", "out_proj")),
)
_EXPERTS = (
    "mlp.experts.0.down_proj",
    "block_sparse_moe.experts.0.w2",
    "feed_forward.experts.0.down_proj",
    "mixer.experts.0.down_proj",
    "moe.experts.0.down_proj",
)
# A list of exceptions names the attention of most layers, or of a few sensitive ones; half divides them.
_MOST = 0.5
_ALL, _NONE = 0.95, 0.05


class Precisions(NamedTuple):
    """What the catalog says about precision."""

    weight: Precision
    expert: Precision | None
    kv: Precision
    mixer: Precision | None = None


def read_precisions(fields: ConfigFields, *, n_layers: int, has_experts: bool) -> Precisions:
    """Return the precisions of weights, expert weights, KV cache and what mixes tokens (None: that of weights).

    Which modules stay unquantised is read from the lists of exceptions: where they name the attention of most
    layers, only the experts are quantised, or in a dense model the feed-forward blocks.

    Raises
    ------
    CatalogError
        When the quantisation method, or the way it spares modules, is not expressible.
    """
    base, is_given = _base_precision(fields)
    precisions = _precisions(fields, base, n_layers=n_layers, has_experts=has_experts)
    if not is_given:
        source = "config.json gives no dtype; bfloat16 assumed, as in current releases"
        if precisions.weight == base:
            fields.assume("weight_precision", source)
        if precisions.expert == base:
            fields.assume("expert_precision", source)
    return precisions


def _precisions(fields: ConfigFields, base: Precision, *, n_layers: int, has_experts: bool) -> Precisions:
    quantization = _quantization(fields)
    if quantization is None:
        return Precisions(base, None, _kv_precision(fields, None, base))
    kv = _kv_precision(fields, quantization, base)
    if (mixed := _by_module(fields, quantization, has_experts=has_experts)) is not None:
        return mixed._replace(kv=kv)
    quantised = _quantised_precision(fields, quantization)
    method = str(quantization.get("quant_method", "")).lower()
    patterns = _spared_modules(quantization)
    spared_fraction = _mixing_spared(patterns, n_layers)
    attention_spared = spared_fraction > _MOST
    if _NONE < spared_fraction < _ALL:
        taken = "unquantised" if attention_spared else "quantised"
        fields.assume("weight_precision", f"attention is quantised in part (quantization_config); taken as {taken}")
    experts_spared = any(_spared_fraction(patterns, [name], n_layers) > _MOST for name in _EXPERTS)
    if has_experts and (attention_spared or method == "mxfp4") and not experts_spared:
        return Precisions(base, quantised, kv)
    expert_type = quantization.get("expert_dtype", fields.text.get("expert_dtype"))
    if has_experts and expert_type is not None:
        if expert_type not in EXPERT_TYPES:
            raise fields.error("expert_dtype", f"must be one of {', '.join(EXPERT_TYPES)}")
        expert = EXPERT_TYPES[str(expert_type)]
        if expert_type == "fp4" and quantization.get("scale_fmt") == "ue8m0":
            expert = "mxfp4"  # an 8-bit power of two for 32 values
        return Precisions(quantised, expert if expert != quantised else None, kv)
    if has_experts and experts_spared and not attention_spared:
        return Precisions(quantised, base, kv)
    return Precisions(quantised, None, kv, base if attention_spared else None)


def _mixing_spared(patterns: list[str], n_layers: int) -> float:
    """Return the share of layers, or of their matrices, in which what mixes tokens is named by a pattern."""
    return min(1.0, max(_spared_by_parent(patterns, n_layers).values(), default=0.0))


def _spared_by_parent(patterns: list[str], n_layers: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for parent in dict.fromkeys(parent for parent, _ in _MIXING):
        found[parent] = max(
            _spared_fraction(patterns, [f"{parent}.{matrix}" for matrix in matrices], n_layers)
            for name, matrices in _MIXING
            if name == parent
        )
    # Attention and linear attention stand in different layers, so that their shares add up.
    found["self_attn"] += found.pop("linear_attn")
    return found


def _by_module(fields: ConfigFields, quantization: Mapping[str, object], *, has_experts: bool) -> Precisions | None:
    """Precisions of a config that gives them by module or by groups of modules; None for every other config."""
    listed = quantization.get("quantized_layers")
    groups = quantization.get("config_groups")
    found: list[tuple[str, Precision]] = []
    if isinstance(listed, Mapping) and listed:
        for module, how in listed.items():
            algorithm = how.get("quant_algo") if isinstance(how, Mapping) else how
            if not isinstance(algorithm, str) or algorithm not in _MODELOPT:
                raise _unusable(fields, quantization, f"{module} with an algorithm that is not known: {algorithm!r}")
            found.append((str(module), _MODELOPT[algorithm]))
    elif isinstance(groups, Mapping) and len(groups) > 1 and quantization.get("quant_algo") not in _MODELOPT:
        for group in groups.values():
            targets = group.get("targets") if isinstance(group, Mapping) else None
            found += [(str(t), _group_precision(fields, group)) for t in (targets if isinstance(targets, list) else [])]
        if len({precision for _, precision in found}) <= 1:
            return None
    if not found:
        return None
    experts = [precision for module, precision in found if "expert" in module and "shared" not in module]
    others = [precision for module, precision in found if not ("expert" in module and "shared" not in module)]
    if len(set(experts)) > 1 or len(set(others)) > 1:
        fields.remarks.append("Quantised in several precisions; that of most modules is taken.")
    weight = _most(others or experts)
    expert = _most(experts) if experts and has_experts else None
    return Precisions(weight, expert if expert != weight else None, "bf16")


def _most(found: list[Precision]) -> Precision:
    return max(dict.fromkeys(found), key=found.count)


def _base_precision(fields: ConfigFields) -> tuple[Precision, bool]:
    """Return the unquantised precision, and whether the config gives it."""
    for config in (fields.text, fields.outer):
        for name in ("dtype", "torch_dtype"):
            value = config.get(name)
            if value is None or value == "auto":
                continue
            precision = TORCH_DTYPES.get(value.removeprefix("torch.")) if isinstance(value, str) else None
            if precision is None:
                raise fields.error(name, f"must be one of {', '.join(TORCH_DTYPES)}")
            return precision, True
    return "bf16", False


def _quantization(fields: ConfigFields) -> Mapping[str, object] | None:
    for config in (fields.text, fields.outer):
        value = config.get("quantization_config", config.get("compression_config"))
        if value is None:
            continue
        if not isinstance(value, Mapping):
            raise fields.error("quantization_config", "must be an object")
        return value or None
    return None


def _quantised_precision(fields: ConfigFields, quantization: Mapping[str, object]) -> Precision:
    method = str(quantization.get("quant_method", "")).lower()
    if method in ("fp8", "fbgemm_fp8", "deepspeedfp"):
        return "fp8"
    if method == "mxfp4":
        return "mxfp4"
    if method in _INTEGERS:
        return _by_bits(fields, "int", quantization.get("bits", quantization.get("w_bit")))
    if method == "bitsandbytes":
        if quantization.get("load_in_4bit") is True:
            return "fp4" if quantization.get("bnb_4bit_quant_type") == "fp4" else "int4"
        if quantization.get("load_in_8bit") is True:
            return "int8"
    algorithm = quantization.get("quant_algo")
    if isinstance(algorithm, str) and algorithm.upper() in _MODELOPT:
        return _MODELOPT[algorithm.upper()]
    groups = quantization.get("config_groups")
    if isinstance(groups, Mapping) and groups and algorithm != "MIXED_PRECISION":
        found = {_group_precision(fields, group) for group in groups.values()}
        if len(found) == 1:
            return found.pop()
        raise _unusable(fields, quantization, f"groups of several precisions: {', '.join(sorted(found))}")
    raise _unusable(fields, quantization, "a method that is not known")


def _group_precision(fields: ConfigFields, group: object) -> Precision:
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping):
        raise fields.error("quantization_config", "must give the weights of each of its config_groups")
    found = _by_bits(fields, str(weights.get("type", "int")), weights.get("num_bits"))
    form = group.get("format") if isinstance(group, Mapping) else None
    shared_by_32 = weights.get("group_size") == 32 or str(form).startswith("mxfp4")
    return "mxfp4" if found == "fp4" and shared_by_32 else found  # NVFP4 has a scale for 16 values


def _by_bits(fields: ConfigFields, kind: str, bits: object) -> Precision:
    precision = _BY_BITS.get((kind, bits)) if isinstance(bits, int) else None
    if precision is None:
        raise fields.error("quantization_config", f"has {kind} weights of {bits!r} bits; known are 4 and 8")
    return precision


def _kv_precision(fields: ConfigFields, quantization: Mapping[str, object] | None, base: Precision) -> Precision:
    scheme = quantization.get("kv_cache_scheme", quantization.get("kv_cache_quant_algo")) if quantization else None
    if isinstance(scheme, Mapping):
        return _by_bits(fields, str(scheme.get("type", "float")), scheme.get("num_bits"))
    if isinstance(scheme, str) and scheme:
        if scheme.upper() not in _MODELOPT:
            raise fields.error("quantization_config", f"has kv_cache_scheme {scheme!r}; known are FP8 and NVFP4")
        return _MODELOPT[scheme.upper()]
    fields.assume("kv_precision", "not in config.json; the 16-bit type that serving software uses by default")
    return base if base in ("bf16", "fp16") else "bf16"


def _spared_modules(quantization: Mapping[str, object]) -> list[str]:
    patterns: list[str] = []
    for name in ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "ignored_modules"):
        value = quantization.get(name)
        if isinstance(value, list):
            patterns += [str(v) for v in value]
    return patterns


def _spared_fraction(patterns: list[str], modules: list[str], n_layers: int) -> float:
    """Return the share of `modules`, over all layers, that some pattern names."""
    if not patterns:
        return 0.0
    plain = {p for p in patterns if "*" not in p and not p.startswith("re:")}  # there may be tens of thousands
    compiled = [re.compile(_as_regex(p)) for p in patterns if p not in plain]
    prefixes = (
        "model.layers", "model.language_model.layers", "language_model.model.layers", "backbone.layers",
        "language_model.layers", "model.decoder.layers",
    )  # fmt: skip
    hits = 0
    for layer in range(n_layers):
        for module in modules:
            names = [f"{prefix}.{layer}.{module}" for prefix in prefixes]
            hits += any(not plain.isdisjoint(_with_parents(name)) for name in names) or any(
                regex.search(name) for regex in compiled for name in names
            )
    return hits / (n_layers * len(modules))


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _as_regex(pattern: str) -> str:
    """Read `re:` patterns as they are, and globs as the start of a module name."""
    if pattern.startswith("re:"):
        try:
            re.compile(pattern[3:])
        except re.error:
            return r"(?!)"
        return pattern[3:]
    return "^" + re.escape(pattern).replace(r"\*", ".*") + r"(\.|$)"


def _unusable(fields: ConfigFields, quantization: Mapping[str, object], why: str) -> CatalogError:
    return CatalogError(
        f"quantization_config: {why}",
        where=fields.where,
        value=f"quant_method = {quantization.get('quant_method')!r}, quant_algo = {quantization.get('quant_algo')!r}",
        rule="known are fp8, mxfp4, gptq, awq, bitsandbytes, compressed-tensors and modelopt with one precision",
        fix="import the unquantised model's config.json and plan with --precision",
    )
