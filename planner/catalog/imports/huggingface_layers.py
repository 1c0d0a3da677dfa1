"""Of which kind each layer of a Hugging Face config is: how it mixes tokens, and whether it has a feed-forward.

Configs say it in a dozen ways: a list of types, a pattern of letters, a period, lists of numbers, or not at all,
where the model's class decides.
"""

from __future__ import annotations

from typing import NamedTuple

from planner.catalog.imports.huggingface_fields import ConfigFields

FULL, SLIDING, CHUNKED, LINEAR, MAMBA, CONVOLUTION = "full", "sliding", "chunked", "linear", "mamba", "conv"
SPARSE, REUSED, BOTH, NONE = "sparse", "reused", "both", "none"
COMPRESSED = "compressed:"
WINDOW = ("sliding_window", "sliding_window_size", "window_size")

_TYPES = {
    **dict.fromkeys(("full_attention", "attention", "global", "global_attention", "full", "softmax"), FULL),
    **dict.fromkeys(("sliding_attention", "local", "local_attention", "sliding", "sliding_window"), SLIDING),
    "chunked_attention": CHUNKED,
    **dict.fromkeys(
        ("linear_attention", "linear", "gated_deltanet", "kda", "lightning", "lightning_attention"), LINEAR
    ),
    **dict.fromkeys(("mamba", "mamba2"), MAMBA),
    **dict.fromkeys(("conv", "short_conv"), CONVOLUTION),
    **dict.fromkeys(("indexed_attention", "minimax_m3_sparse", "deepseek_sparse_attention"), SPARSE),
    "heavily_compressed_attention": COMPRESSED + "128",
    "compressed_sparse_attention": COMPRESSED + "4",
}
_LETTERS = {"M": (MAMBA, NONE), "*": (FULL, NONE), "-": (NONE, "mlp"), "E": (NONE, "moe")}
_BLOCKS = {"mamba": "M", "linear_attention": "M", "mamba2": "M", "attention": "*", "full_attention": "*"} | {
    "mlp": "-", "moe": "E",
}  # fmt: skip


class ConfigLayer(NamedTuple):
    """One layer: how it mixes tokens, and its feed-forward ("": as its place among experts says)."""

    mixer: str
    feed_forward: str = ""


def n_single_block_layers(fields: ConfigFields) -> int | None:
    """Return the number of layers where each is one block only (Nemotron-H), None for every other model."""
    blocks = _single_blocks(fields)
    return None if blocks is None else len(blocks)


def read_layers(fields: ConfigFields, *, n_layers: int, max_context_tokens: int) -> list[ConfigLayer]:
    """Return the kind of every layer.

    Raises
    ------
    CatalogError
        Naming the field and its value, for kinds of layers that the catalog does not know.
    """
    blocks = _single_blocks(fields)
    if blocks is not None:
        return [ConfigLayer(*_LETTERS[letter]) for letter in blocks]
    kinds = _given_kinds(fields, n_layers) or _kinds_by_rule(fields, n_layers)
    # A window or chunk that no context can fill is none.
    window = fields.optional_integer(*WINDOW) or 0
    chunk = fields.optional_integer("attention_chunk_size") or 0
    if SLIDING in kinds and not window:
        raise fields.missing("sliding_window")
    if CHUNKED in kinds and not chunk:
        raise fields.missing("attention_chunk_size")
    unfilled = {kind for kind, span in ((SLIDING, window), (CHUNKED, chunk)) if span >= max_context_tokens}
    return [ConfigLayer(FULL if kind in unfilled else kind) for kind in kinds]


def _single_blocks(fields: ConfigFields) -> str | None:
    pattern = fields.text.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        letters = pattern.replace("|", "")
        if not letters or set(letters) - set(_LETTERS):
            raise fields.refuse("hybrid_override_pattern", "layers of other letters than M, *, - and E")
        return letters
    if fields.model_type != "nemotron_h":
        return None
    types = fields.text.get("layers_block_type") or fields.text.get("layer_types")
    if not isinstance(types, list) or not types:
        raise fields.missing("hybrid_override_pattern", "layers_block_type")
    for kind in types:
        if kind not in _BLOCKS:
            raise fields.refuse("layers_block_type", f"layers of type {kind!r}")
    return "".join(_BLOCKS[kind] for kind in types)


def _given_kinds(fields: ConfigFields, n_layers: int) -> list[str] | None:
    """Kinds that the config lists layer by layer, None where it does not."""
    for name in ("layer_types", "layers_block_type", "attention_layers"):
        types = fields.layer_list(name, n_layers)
        if types is not None:
            kinds = [_kind(fields, name, kind) for kind in types]
            return _indexed(fields, n_layers) if set(kinds) == {SPARSE} else kinds
    ratios = fields.text.get("compress_ratios")
    if isinstance(ratios, list):
        return [_compressed(fields, ratio) for ratio in fields.layer_list("compress_ratios", n_layers) or []]
    nested = fields.text.get("linear_attn_config")
    if isinstance(nested, dict) and isinstance(nested.get("full_attn_layers"), list):
        full = {layer - 1 for layer in nested["full_attn_layers"] if isinstance(layer, int)}  # counted from one
        return [FULL if i in full else LINEAR for i in range(n_layers)]
    flags = (
        # field, kind where the flag is 0, kind where it is 1
        ("attn_type_list", LINEAR, FULL),
        ("hybrid_layer_pattern", FULL, SLIDING),
        ("decoder_attention_types", LINEAR, FULL),
    )
    for name, zero, one in flags:
        if (listed := fields.numbers_listed(name, n_layers)) is not None:
            return [one if flag else zero for flag in listed]
    for name, other in (("full_attn_idxs", CONVOLUTION), ("attn_layer_indices", MAMBA)):
        if isinstance(fields.text.get(name), list):
            full = set(fields.integer_list(name))
            return [FULL if i in full else other for i in range(n_layers)]
    return None


def _kind(fields: ConfigFields, name: str, kind: object) -> str:
    found = _TYPES.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise fields.refuse(name, f"layers of type {kind!r}")
    if found is LINEAR and fields.family and fields.family.others == "mamba":
        return MAMBA
    if found is FULL and "index_topk" in fields.text:
        return SPARSE
    return found


def _compressed(fields: ConfigFields, ratio: object) -> str:
    if ratio not in (0, 4, 128):
        raise fields.refuse("compress_ratios", f"entries of {ratio!r} tokens")
    return f"{COMPRESSED}{ratio}"


def _kinds_by_rule(fields: ConfigFields, n_layers: int) -> list[str]:
    """Kinds by a period or by the rule of the model's class."""
    family = fields.family
    if fields.model_type == "falcon_h1":
        return [BOTH] * n_layers
    if fields.optional_integer("index_topk"):
        return _indexed(fields, n_layers)
    if isinstance(fields.text.get("sparse_attention_config"), dict):
        return _block_sparse(fields, n_layers)
    period = fields.optional_integer("attn_layer_period")
    if period:
        offset = fields.optional_integer("attn_layer_offset") or 0
        return [FULL if i % period == offset else MAMBA for i in range(n_layers)]
    others = family.others if family else "sliding"
    if others == "linear":
        every = fields.optional_integer("full_attention_interval", "layer_group_size") or (
            family.full_every if family else None
        )
        if isinstance(every, int):
            return [FULL if (i + 1) % every == 0 else LINEAR for i in range(n_layers)]
        raise fields.missing("layer_types", "attn_type_list", "full_attention_interval")
    if others == "chunked":
        return _chunked(fields, n_layers)
    if others == "mamba" and family and family.full_every == "none":
        return [MAMBA] * n_layers
    return _windowed(fields, n_layers)


def _indexed(fields: ConfigFields, n_layers: int) -> list[str]:
    """Layers with an index of their own, and layers that take the choice of the one before (GLM-5)."""
    types = fields.layer_list("indexer_types", n_layers)
    pattern = fields.text.get("index_topk_pattern")
    if types is None and isinstance(pattern, str) and len(pattern) >= n_layers:
        types = ["full" if letter == "F" else "shared" for letter in pattern[:n_layers]]
    if types is None:
        every = fields.optional_integer("index_topk_freq", minimum=1) or 1
        offset = fields.optional_integer("index_skip_topk_offset")
        offset = 2 if offset is None else offset
        return [REUSED if max(i - offset + 1, 0) % every else SPARSE for i in range(n_layers)]
    return [REUSED if kind == "shared" else SPARSE for kind in types]


def _block_sparse(fields: ConfigFields, n_layers: int) -> list[str]:
    nested = fields.text["sparse_attention_config"]
    assert isinstance(nested, dict)
    if nested.get("use_sparse_attention") is False:
        return [FULL] * n_layers
    flags = nested.get("sparse_attention_freq")
    if flags is None:
        return [SPARSE] * n_layers
    if not isinstance(flags, list) or len(flags) < n_layers:
        raise fields.error("sparse_attention_config", "must have a sparse_attention_freq for each layer")
    return [SPARSE if flag else FULL for flag in flags[:n_layers]]


def _chunked(fields: ConfigFields, n_layers: int) -> list[str]:
    """Llama 4: layers without rotary embedding see everything, the others a chunk."""
    if not fields.optional_integer("attention_chunk_size"):
        return [FULL] * n_layers
    rotary = fields.text.get("no_rope_layers")  # 1 where there is rotary embedding
    if not isinstance(rotary, list) or not rotary:
        every = fields.optional_integer("no_rope_layer_interval", minimum=1) or 4
        rotary = [int((i + 1) % every != 0) for i in range(n_layers)]
    if len(rotary) < n_layers:
        raise fields.error("no_rope_layers", f"must have one entry for each of the {n_layers} layers")
    return [CHUNKED if flag else FULL for flag in rotary[:n_layers]]


def _windowed(fields: ConfigFields, n_layers: int) -> list[str]:
    """Sliding windows by a pattern, a period or the rule of the family; full attention without a window."""
    window = fields.optional_integer("sliding_window", "sliding_window_size") or None
    if window is None or not fields.boolean("use_sliding_window", default=True):
        return [FULL] * n_layers
    name, pattern = fields.find(
        "sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers", "layer_switch"
    )
    rule = fields.family.full_every if fields.family else None
    if isinstance(pattern, str):
        if not pattern or set(pattern) - set("LG"):
            raise fields.error(name, "must consist of L (local) and G (global)")
        return [SLIDING if pattern[i % len(pattern)] == "L" else FULL for i in range(n_layers)]
    if pattern is not None:
        rule = fields.integer(name)
    if rule == "qwen" or (rule is None and fields.text.get("use_sliding_window") is True):
        # These classes leave the window off unless told otherwise, and keep the first layers full.
        if not fields.boolean("use_sliding_window", default=False):
            return [FULL] * n_layers
        first = fields.integer("max_window_layers", minimum=0)
        return [FULL if i < first else SLIDING for i in range(n_layers)]
    if isinstance(rule, int):
        kinds = [FULL if (i + 1) % rule == 0 else SLIDING for i in range(n_layers)]
        if fields.model_type == "gemma4_text":  # whose last layer is always full
            kinds[-1] = FULL
        return kinds
    if rule == "none":
        return [SLIDING] * n_layers
    if not any(field in fields.text for field in WINDOW):  # of the class, whose layers are full unless it says which
        return [FULL] * n_layers
    raise fields.refuse("sliding_window", "a sliding window without saying in which layers (layer_types)")
