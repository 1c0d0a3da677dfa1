"""Attention of a Hugging Face config. What the catalog cannot express is refused by name, never guessed."""

from __future__ import annotations

import re

from planner.catalog.imports.huggingface_fields import Fields
from planner.catalog.schema import Attention, LatentAttention, MultiHeadAttention

N_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
N_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
HEAD_DIM = ("head_dim", "kv_channels", "attention_head_dim")

REFUSED_TYPES = {
    **dict.fromkeys(("rwkv", "rwkv5", "rwkv6", "rwkv7"), "RWKV has no attention"),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "xlstm"), "a state-space model has no KV cache"),
    **dict.fromkeys(("jamba", "bamba", "zamba", "zamba2", "nemotron_h", "falcon_h1"), "state-space layers"),
    **dict.fromkeys(("t5", "mt5", "bart", "mbart", "whisper", "umt5"), "encoder-decoder with cross-attention"),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "modernbert", "distilbert", "deberta-v2"), "an encoder"),
    **dict.fromkeys(("llama4", "llama4_text"), "chunked attention"),
    **dict.fromkeys(("mllama", "mllama_text_model"), "cross-attention layers"),
    "recurrentgemma": "recurrent layers",
    "minimax": "linear attention",
    "deepseek_v32": "sparse attention with an index",
}

_SHAPE = "sliding-window layers with heads of another shape"
_SHARED_KV = "layers that share their KV cache"
_GLOBAL = "full-attention layers with heads of another shape"
_LINEAR = "linear attention"
_STATE_SPACE = "state-space (Mamba) layers"
_SPARSE = "sparse attention with an index"
_CROSS = "cross-attention"
REFUSED_FIELDS = {
    "is_encoder_decoder": "encoder-decoder with cross-attention",
    "add_cross_attention": _CROSS,
    "cross_attention_layers": _CROSS,
    "index_topk": _SPARSE,
    "sparse_attention_config": _SPARSE,
    "compress_ratios": "compressed sparse attention",
    "dual_chunk_attention_config": "sparse attention",
    "linear_attn_config": _LINEAR,
    "linear_num_value_heads": _LINEAR,
    "linear_num_key_heads": _LINEAR,
    "full_attention_interval": _LINEAR,
    "mamba_num_heads": _STATE_SPACE,
    "mamba_d_state": _STATE_SPACE,
    "ssm_state_size": _STATE_SPACE,
    "state_size": _STATE_SPACE,
    "hybrid_override_pattern": "a mixture of attention and state-space layers",
    "attn_layer_period": "a mixture of attention and state-space layers",
    "lru_width": "recurrent layers",
    "attention_chunk_size": "chunked attention",
    "attn_output_gate": "gated attention",
    "block_configs": "layers that differ from each other",
    "num_kv_shared_layers": _SHARED_KV,
    "cla_share_factor": _SHARED_KV,
    "use_cla": _SHARED_KV,
    "global_head_dim": _GLOBAL,
    "num_global_key_value_heads": _GLOBAL,
    "attention_k_eq_v": "keys that serve as values",
    "hybrid_layer_pattern": _SHAPE,
    "swa_num_key_value_heads": _SHAPE,
    "swa_head_dim": _SHAPE,
    "alibi_windows": "windowed attention by head",
}

# Field names that may say something about the attention's structure ...
_STRUCTURAL = re.compile(
    r"attn|attention|sparse|mamba|ssm|linear_|recurr|rwkv|conv_|window|swa_|chunk|hybrid|index_|compress"
    r"|lora_rank|cross_|kv_shar|shared_kv|cla_|block_config|global_|lru|moba|retention"
)
# ... and those of them that do not, or that are read below.
_UNDERSTOOD = {
    *N_HEADS,
    "kv_lora_rank",
    "q_lora_rank",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "sliding_window_pattern",
    "attention_head_dim",
    "multi_query_attention",
    "attn_type_list",
    "decoder_sparse_step",
    "attn_config",
}
_HARMLESS = re.compile(
    r"dropout|pdrop|_bias$|^attn_?implementation|^_attn|softmax|softcap|logit|_scale$|_scaling$|scalar|multiplier"
    r"|temperature|_eps$|_in_fp32|qk_norm|^no_attention|upcast|^scale_attn|chunk_size_feed_forward|^reorder"
    r"|floor_scale|attn_scale|cross_entropy|output_attentions|cross_attention_hidden_size|parallel_attn$"
    r"|multimodal|pretraining|use_flash|flash_attn|fused|memory_efficient|attn_mask|use_bidirectional"
    r"|linear_bias|rope|initializer"
)


def read_attention(fields: Fields, *, n_layers: int, hidden_size: int, max_context_tokens: int) -> Attention:
    """Return the attention that a config describes.

    Raises
    ------
    CatalogError
        Naming the field and its value, when the attention is of a kind the catalog cannot express or a needed
        field is missing.
    """
    refuse_inexpressible(fields)
    n_heads = fields.integer(*N_HEADS)
    kv_lora_rank = fields.optional_integer("kv_lora_rank")
    window_tokens, n_window_layers = read_window(fields, n_layers=n_layers, max_context_tokens=max_context_tokens)
    if kv_lora_rank:
        if n_window_layers:
            raise fields.refuse("sliding_window", "a sliding window in latent attention")
        return LatentAttention(
            type="mla",
            n_heads=n_heads,
            kv_lora_rank=kv_lora_rank,
            q_lora_rank=fields.optional_integer("q_lora_rank") or None,
            qk_nope_head_dim=fields.integer("qk_nope_head_dim"),
            qk_rope_head_dim=fields.integer("qk_rope_head_dim"),
            v_head_dim=fields.integer("v_head_dim"),
        )
    if fields.optional_integer("q_lora_rank"):
        raise fields.refuse("q_lora_rank", "compressed queries without a kv_lora_rank")
    n_kv_heads = _n_kv_heads(fields, n_heads)
    if n_heads % n_kv_heads:
        raise fields.error(N_KV_HEADS[0], f"must divide the {n_heads} attention heads; {n_kv_heads} does not")
    head_dim = _head_dim(fields, n_heads=n_heads, hidden_size=hidden_size)
    v_head_dim = fields.optional_integer("v_head_dim")
    if v_head_dim not in (None, head_dim):
        raise fields.refuse("v_head_dim", f"values as wide as {v_head_dim} beside keys as wide as {head_dim}")
    return MultiHeadAttention(
        type="mha" if n_kv_heads == n_heads else "mqa" if n_kv_heads == 1 else "gqa",
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        window_tokens=window_tokens,
        n_window_layers=n_window_layers,
    )


def read_window(fields: Fields, *, n_layers: int, max_context_tokens: int) -> tuple[int | None, int]:
    """Return the sliding window [tokens] and the number of layers that use it; (None, 0) without one.

    `layer_types` decides where given; else the pattern, else the rule of the family. A window that no context
    can fill is none.
    """
    window = fields.optional_integer("sliding_window") or None
    layer_types = fields.layer_list("layer_types", n_layers)
    if layer_types is not None:
        unknown = [t for t in layer_types if t not in ("full_attention", "sliding_attention", "attention")]
        if unknown:
            raise fields.refuse("layer_types", f"layers of type {unknown[0]!r}")
        n_window_layers = layer_types.count("sliding_attention")
        if n_window_layers and window is None:
            raise fields.missing("sliding_window")
    elif window is None or not fields.boolean("use_sliding_window", default=True):
        return None, 0
    else:
        n_window_layers = _n_window_layers(fields, n_layers)
    if window is None or window >= max_context_tokens or not n_window_layers:
        return None, 0
    return window, n_window_layers


def _n_window_layers(fields: Fields, n_layers: int) -> int:
    name, pattern = fields.find("sliding_window_pattern", "_sliding_window_pattern")
    rule = fields.family.windowed_layers if fields.family else None
    if isinstance(pattern, str):
        if not pattern or set(pattern) - set("LG"):
            raise fields.error(name, "must consist of L (local) and G (global)")
        return sum(pattern[i % len(pattern)] == "L" for i in range(n_layers))
    if pattern is not None:
        rule = fields.integer(name)
    if isinstance(rule, int):
        return n_layers - n_layers // rule
    if rule == "qwen" or (rule is None and fields.text.get("use_sliding_window") is True):
        # These classes leave the window off unless told otherwise, and keep the first layers full.
        if not fields.boolean("use_sliding_window", default=False):
            return 0
        return max(0, n_layers - fields.integer("max_window_layers", minimum=0))
    if rule == "all":
        return n_layers
    raise fields.refuse("sliding_window", "a sliding window without saying in which layers (layer_types)")


def _n_kv_heads(fields: Fields, n_heads: int) -> int:
    if fields.model_type == "mpt":
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


def _head_dim(fields: Fields, *, n_heads: int, hidden_size: int) -> int:
    given = fields.optional_integer(*HEAD_DIM, minimum=1)
    if given is not None:
        return given
    if hidden_size % n_heads:
        raise fields.error(N_HEADS[0], f"must divide the hidden size {hidden_size} where head_dim is left out")
    return hidden_size // n_heads


def refuse_inexpressible(fields: Fields) -> None:
    """Raise CatalogError, naming field and value, if a field says the attention is of another kind.

    Fields whose name looks like attention but which are not understood count too.
    """
    for config in (fields.text, fields.outer):
        model_type = config.get("model_type")
        if isinstance(model_type, str) and model_type in REFUSED_TYPES:
            raise fields.refuse("model_type", REFUSED_TYPES[model_type])
    for name, why in REFUSED_FIELDS.items():
        if _says_something(fields.text.get(name)):
            raise fields.refuse(name, why)
    if _says_something(fields.outer.get("is_encoder_decoder")):
        raise fields.refuse("is_encoder_decoder", REFUSED_FIELDS["is_encoder_decoder"])
    kinds = fields.text.get("attn_type_list")
    if isinstance(kinds, list) and any(kind != 1 for kind in kinds):
        raise fields.refuse("attn_type_list", "linear attention in some layers")
    for name, value in fields.text.items():
        unknown = _STRUCTURAL.search(str(name)) and name not in _UNDERSTOOD and not _HARMLESS.search(str(name))
        if unknown and _says_something(value):
            raise fields.refuse(str(name), "a field about attention that is not understood")


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in (0, "", [], {})
