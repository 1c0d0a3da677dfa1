"""How the layers of a Hugging Face config mix tokens. What the catalog cannot express is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.imports.huggingface_layers import (
    BOTH,
    CHUNKED,
    COMPRESSED,
    CONVOLUTION,
    FULL,
    LINEAR,
    MAMBA,
    NONE,
    REUSED,
    SLIDING,
    SPARSE,
    WINDOW,
    ConfigLayer,
)
from planner.catalog.imports.huggingface_recurrent import read_convolution, read_linear, read_mamba
from planner.catalog.layers import (
    AnyMixer,
    CompressedAttention,
    Indexer,
    LatentAttention,
    MultiHeadAttention,
)

N_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "num_q_heads")
N_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "num_attention_groups")
HEAD_DIM = ("head_dim", "kv_channels", "attention_head_dim")
# Index keys are kept in 8 bits with a 4-byte scale for each 128 of them (DeepSeek-V3.2, arXiv 2512.02556, section 2.1).
INDEX_SCALE_BYTES, INDEX_SCALED = 4.0, 128


def read_mixers(fields: ConfigFields, layers: list[ConfigLayer], *, hidden_size: int) -> list[AnyMixer]:
    """Return the kinds of token mixing that a config describes, each with its number of layers.

    Raises
    ------
    CatalogError
        Naming the field and its value, when a needed field is missing, contradictory or not expressible.
    """
    readers: dict[str, Callable[[], AnyMixer]] = {
        LINEAR: lambda: _linear(fields, hidden_size),
        MAMBA: lambda: read_mamba(fields, hidden_size=hidden_size),
        CONVOLUTION: lambda: read_convolution(fields),
    }
    found: dict[AnyMixer, int] = {}
    made: dict[str, AnyMixer] = {}
    for i, layer in enumerate(layers):
        kinds = (FULL, MAMBA) if layer.mixer == BOTH else () if layer.mixer == NONE else (layer.mixer,)
        for kind in kinds:
            if kind in readers:
                if kind not in made:
                    made[kind] = readers[kind]()
                mixer = made[kind]
            elif kind.startswith(COMPRESSED):
                mixer = _compressed(fields, int(kind.removeprefix(COMPRESSED)))
            else:
                mixer = _attention(fields, kind, i, n_layers=len(layers), hidden_size=hidden_size)
            found[mixer] = found.get(mixer, 0) + 1
    if len(found) == 1 and list(found.values()) == [len(layers)]:
        return list(found)
    return [mixer.model_copy(update={"n_layers": n}) for mixer, n in found.items()]


def _linear(fields: ConfigFields, hidden_size: int) -> AnyMixer:
    n_heads = fields.integer(*N_HEADS)
    head_dim = fields.optional_integer(*HEAD_DIM, minimum=1) or hidden_size // n_heads
    return read_linear(fields, n_heads=n_heads, head_dim=head_dim)


def _attention(fields: ConfigFields, kind: str, layer: int, *, n_layers: int, hidden_size: int) -> AnyMixer:
    n_heads = _heads(fields, kind, layer, n_layers)
    kv_lora_rank = fields.optional_integer("kv_lora_rank")
    if kv_lora_rank and fields.boolean("use_mla", default=True):
        if kind not in (FULL, SPARSE, REUSED):
            raise fields.refuse("sliding_window", "a sliding window in latent attention")
        v_head_dim = fields.integer("v_head_dim")
        return LatentAttention(
            type="mla",
            n_heads=n_heads,
            kv_lora_rank=kv_lora_rank,
            q_lora_rank=fields.optional_integer("q_lora_rank") or None,
            qk_nope_head_dim=fields.integer("qk_nope_head_dim"),
            qk_rope_head_dim=fields.integer("qk_rope_head_dim", minimum=0),
            v_head_dim=v_head_dim,
            top_k_tokens=fields.integer("index_topk") if kind in (SPARSE, REUSED) else None,
            indexer=_indexer(fields) if kind == SPARSE else None,
            gate_width=_gate_width(fields, n_heads, v_head_dim),
        )
    rank = fields.optional_integer("share_q_dim", "q_lora_rank") or None
    if rank and not fields.optional_integer("share_q_dim"):
        raise fields.refuse("q_lora_rank", "compressed queries without a kv_lora_rank")
    n_kv_heads = _kv_heads(fields, kind, layer, n_heads, n_layers)
    if n_heads % n_kv_heads:
        raise fields.error(N_KV_HEADS[0], f"must divide the {n_heads} attention heads; {n_kv_heads} does not")
    head_dim = _head_dim(fields, kind, layer, n_heads=n_heads, hidden_size=hidden_size)
    names = ("swa_v_head_dim", "v_head_dim") if kind == SLIDING else ("v_head_dim",)
    v_head_dim = next((v for name in names if (v := fields.optional_integer(name))), head_dim)
    top_k, indexer = _blocks_of_index(fields) if kind == SPARSE else (None, None)
    return MultiHeadAttention(
        type="mha" if n_kv_heads == n_heads else "mqa" if n_kv_heads == 1 else "gqa",
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        v_head_dim=v_head_dim if v_head_dim != head_dim else None,
        q_lora_rank=rank,
        window_tokens=fields.integer(*WINDOW) if kind == SLIDING else None,
        chunk_tokens=fields.integer("attention_chunk_size") if kind == CHUNKED else None,
        top_k_tokens=top_k,
        indexer=indexer,
        gate_width=_gate_width(fields, n_heads, v_head_dim),
        kv=_kv(fields, kind, layer, n_layers),  # type: ignore[arg-type]
    )


def _compressed(fields: ConfigFields, ratio: int) -> CompressedAttention:
    indexed = ratio == 4  # the other ratio leaves few enough entries to attend to all
    return CompressedAttention(
        type="compressed",
        n_heads=fields.integer(*N_HEADS),
        head_dim=fields.integer("head_dim"),
        q_lora_rank=fields.integer("q_lora_rank"),
        o_groups=fields.integer("o_groups"),
        o_lora_rank=fields.integer("o_lora_rank"),
        window_tokens=fields.integer("sliding_window"),
        compress_ratio=ratio,
        top_k_tokens=fields.integer("index_topk") if indexed else None,
        indexer=_indexer(fields) if indexed else None,
    )


def _indexer(fields: ConfigFields) -> Indexer:
    width = fields.integer("index_head_dim")
    scales = INDEX_SCALE_BYTES * width / INDEX_SCALED
    return Indexer(n_heads=fields.integer("index_n_heads"), head_dim=width, cache_bytes=width + scales)


def _blocks_of_index(fields: ConfigFields) -> tuple[int, Indexer]:
    """Index of MiniMax-M3, which picks blocks of tokens; its keys are kept as the others are, in 16 bits."""
    nested = fields.text.get("sparse_attention_config")
    part = ConfigFields(nested, fields.where) if isinstance(nested, Mapping) else fields
    n_heads = part.integer("sparse_num_index_heads", "index_n_heads")
    width = part.integer("sparse_index_dim", "index_head_dim")
    blocks = part.integer("sparse_topk_blocks", "index_topk_blocks")
    size = part.integer("sparse_block_size", "index_block_size")
    return blocks * size, Indexer(n_heads=n_heads, head_dim=width, cache_bytes=2.0 * width, weighted=False)


def _override(fields: ConfigFields, layer: int, name: str) -> int | None:
    """A layer's own value of a field, of configs that list what differs by layer."""
    by_layer = fields.text.get("per_layer_config")
    if isinstance(by_layer, Mapping):
        own = by_layer.get(f"{layer:02d}", by_layer.get(str(layer)))
        value = own.get(name) if isinstance(own, Mapping) else None
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _heads(fields: ConfigFields, kind: str, layer: int, n_layers: int) -> int:
    if (own := _override(fields, layer, "num_attention_heads")) is not None:
        return own
    for name in ("num_attention_heads_per_layer", "num_attention_heads"):
        listed = fields.numbers_listed(name, n_layers)
        if listed is not None:
            return listed[layer]
    if kind == SLIDING:
        other = fields.text.get("attention_other_setting")
        nested = other.get("num_attention_heads") if isinstance(other, Mapping) else None
        found = fields.optional_integer("swa_num_attention_heads", "num_sliding_attention_heads") or nested
        if isinstance(found, int) and found > 0:
            return found
    return fields.integer(*N_HEADS)


def _kv_heads(fields: ConfigFields, kind: str, layer: int, n_heads: int, n_layers: int) -> int:
    if (own := _override(fields, layer, "num_key_value_heads")) is not None:
        return own
    listed = fields.numbers_listed("num_key_value_heads", n_layers)
    if listed is not None:
        return listed[layer] or n_heads
    if kind == SLIDING:
        other = fields.text.get("attention_other_setting")
        nested = other.get("num_attention_groups") if isinstance(other, Mapping) else None
        found = fields.optional_integer("swa_num_key_value_heads") or nested
        if isinstance(found, int) and found > 0:
            return found
    if kind == FULL and fields.boolean("attention_k_eq_v", default=False):
        found = fields.optional_integer("num_global_key_value_heads")
        if found:
            return found
    return _n_kv_heads(fields, n_heads)


def _n_kv_heads(fields: ConfigFields, n_heads: int) -> int:
    if fields.model_type in ("mpt", "dbrx"):
        nested = fields.text.get("attn_config")
        given = nested.get("kv_n_heads") if isinstance(nested, dict) else None
        if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
            raise fields.error("attn_config", "must have a positive whole number as kv_n_heads")
        if isinstance(nested, dict) and nested.get("sliding_window_size", -1) != -1:
            raise fields.refuse("attn_config", "a sliding window of this family")
        return given or n_heads
    # Falcon: its new architecture has groups; the old one has one KV head if multi_query, whatever num_kv_heads says.
    if fields.boolean("multi_query", default=False) and not fields.boolean("new_decoder_architecture", default=False):
        return 1
    if fields.model_type == "chatglm" and not fields.boolean("multi_query_attention", default=False):
        return n_heads
    return fields.optional_integer(*N_KV_HEADS, minimum=1) or n_heads


def _head_dim(fields: ConfigFields, kind: str, layer: int, *, n_heads: int, hidden_size: int) -> int:
    if (own := _override(fields, layer, "head_dim")) is not None:
        return own
    if kind == SLIDING and (found := fields.optional_integer("swa_head_dim")):
        return found
    if kind == FULL and (found := fields.optional_integer("global_head_dim")):
        return found
    given = fields.optional_integer(*HEAD_DIM, minimum=1)
    if given is not None:
        return given
    if hidden_size % n_heads:
        raise fields.error(N_HEADS[0], f"must divide the hidden size {hidden_size} where head_dim is left out")
    return hidden_size // n_heads


def _gate_width(fields: ConfigFields, n_heads: int, v_head_dim: int) -> int:
    """Columns of a gate on the output of attention."""
    rule = fields.family.gate if fields.family else ""
    for names, width in (
        (("attn_output_gate", "attention_output_gate", "mla_use_output_gate"), "full"),
        (("use_head_wise_attn_gate", "use_attention_gate"), "head"),
    ):
        for name in names:
            if fields.text.get(name) is not None:
                rule = width if fields.boolean(name, default=False) else ""
    gating = fields.text.get("gating")
    if gating is not None:
        rule = "full" if gating in ("per-element", "elementwise") else "head" if gating else ""
    return {"": 0, "head": n_heads, "full": n_heads * v_head_dim}[rule]


def _kv(fields: ConfigFields, kind: str, layer: int, n_layers: int) -> str:
    shared = fields.optional_integer("num_kv_shared_layers") or 0
    if layer >= n_layers - shared:
        return "shared"
    if fields.boolean("use_cla", default=False) and layer % (fields.optional_integer("cla_share_factor") or 1):
        return "shared"
    return "keys-only" if kind == FULL and fields.boolean("attention_k_eq_v", default=False) else "own"
