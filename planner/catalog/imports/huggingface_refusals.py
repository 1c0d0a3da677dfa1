"""What a Hugging Face config may say that the catalog cannot express: refused by name, never guessed."""

from __future__ import annotations

import re

from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.imports.huggingface_layers import (
    BOTH,
    CHUNKED,
    COMPRESSED,
    CONVOLUTION,
    LINEAR,
    MAMBA,
    REUSED,
    SPARSE,
)

_ENCODER = "an encoder, which generates nothing"
_ENCODER_DECODER = "encoder-decoder with cross-attention"
REFUSED_TYPES = {
    **dict.fromkeys(("rwkv", "rwkv5", "rwkv6", "rwkv7"), "RWKV has no attention"),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "xlstm"), "a state-space model has no KV cache"),
    **dict.fromkeys(("zamba", "zamba2"), "layers that share their weights"),
    **dict.fromkeys(
        ("t5", "mt5", "bart", "mbart", "whisper", "umt5", "t5gemma"), "encoder-decoder with cross-attention"
    ),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "modernbert", "distilbert", "deberta-v2"), _ENCODER),
    **dict.fromkeys(("mllama", "mllama_text_model"), "cross-attention layers"),
    **dict.fromkeys(("recurrentgemma", "recurrent_gemma"), "recurrent layers"),
    "phi4flash": "layers that share the KV cache of another half of the model",
    "openelm": "layers whose widths follow from multipliers",
    "jetmoe": "a mixture of attention heads",
    "doge": "a product-key mixture of experts",
    "zaya": "attention over compressed channels",
    "blt": "bytes in patches",
    "hrm_text": "layers that are passed several times",
    "dory": "layers that are passed several times",
}

_CROSS = "cross-attention"
_RECURRENT = "recurrent layers"
REFUSED_FIELDS = {
    "is_encoder_decoder": _ENCODER_DECODER,
    "add_cross_attention": _CROSS,
    "cross_attention_layers": _CROSS,
    "dual_chunk_attention_config": "sparse attention",
    "lru_width": _RECURRENT,
    "alibi_windows": "windowed attention by head",
    "num_query_groups_per_layer": "groups of heads by layer",
    "mlp_layer_multipliers": "widths by layer",
}

# Field names that may say something about the structure of layers ...
_STRUCTURAL = re.compile(
    r"attn|attention|sparse|mamba|ssm|linear_|recurr|rwkv|conv_|window|swa_|chunk|hybrid|index_|compress"
    r"|lora_rank|cross_|kv_shar|shared_kv|cla_|block_config|global_|lru|moba|retention"
)
# ... and those of them that are read elsewhere ...
_READ = {
    "kv_lora_rank", "q_lora_rank", "attention_head_dim", "multi_query_attention", "attn_type_list",
    "decoder_sparse_step", "attn_config", "attn_output_gate", "attention_output_gate", "use_head_wise_attn_gate",
    "mla_use_output_gate", "use_attention_gate", "sliding_window", "sliding_window_size", "use_sliding_window",
    "max_window_layers", "sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers",
    "window_size", "attention_chunk_size", "layer_switch", "hybrid_layer_pattern", "hybrid_override_pattern",
    "full_attention_interval", "linear_attn_config", "linear_conv_kernel_dim", "linear_key_head_dim",
    "linear_value_head_dim", "linear_num_key_heads", "linear_num_value_heads", "linear_num_heads", "linear_head_dim",
    "num_linear_heads", "short_conv_kernel_size", "attn_layer_period", "attn_layer_offset", "attn_layer_indices",
    "full_attn_idxs", "decoder_attention_types", "mamba_num_heads", "mamba_head_dim", "ssm_state_size", "n_groups",
    "conv_kernel", "chunk_size", "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_ngroups", "mamba_d_state",
    "mamba_d_conv", "mamba_expand", "mamba_chunk_size", "mamba_d_ssm", "mamba_dt_rank", "mamba_ssm_dtype",
    "mamba_ssm_cache_dtype", "conv_L_cache", "index_topk", "index_n_heads", "index_head_dim", "index_topk_freq",
    "index_skip_topk_offset", "index_topk_pattern", "index_topk_blocks", "index_block_size",
    "sparse_attention_config", "compress_ratios", "compress_rates", "num_kv_shared_layers", "use_cla",
    "cla_share_factor", "attention_k_eq_v", "global_head_dim", "num_global_key_value_heads",
    "swa_num_key_value_heads", "swa_num_attention_heads", "swa_head_dim", "swa_v_head_dim", "num_attention_groups",
    "attention_other_setting", "num_sliding_attention_heads", "num_attention_heads_per_layer", "block_configs",
    "o_lora_rank", "use_linear_attn", "sparse_layers", "moe_sparse_layers", "num_attention_heads",
    "attn_res_block_size", "prefix_dense_sliding_window_pattern", "attention_types", "attention_layers",
}  # fmt: skip
# ... and those that change neither memory nor time that counts.
_HARMLESS = re.compile(
    r"dropout|pdrop|_bias$|^attn_?implementation|^_attn|softmax|softcap|logit|_scale$|_scaling$|scalar|multiplier"
    r"|temperature|_eps$|_in_fp32|qk_norm|^no_attention|upcast|^scale_attn|chunk_size_feed_forward|^reorder"
    r"|floor_scale|attn_scale|cross_entropy|output_attentions|cross_attention_hidden_size|parallel_attn$"
    r"|multimodal|pretraining|use_flash|flash_attn|fused|memory_efficient|attn_mask|use_bidirectional"
    r"|linear_bias|rope|initializer|conv_bias|proj_bias|use_mamba_kernels|hidden_act|_dt_|_limit$|sink|norm"
    r"|bidirectional|sparsity_pattern|block_size$|local_blocks?$|init_blocks?$|kv_cache|_beta_|alpha_factor"
    r"|beta_factor|_max_freq|index_share|a_log|neg_eigval|conv_dim_out|use_xavier|conv_use|num_logits|swa_.*theta"
    r"|attention_mask|use_attn_bias|with_attention|attention_type$|attention_method|attn_method|lightning_block"
    r"|linear_scaling|ulysses|layer_prefix|rms|^activation_|attn_res_block"
)


_COMPRESSED = {f"{COMPRESSED}{ratio}" for ratio in (0, 4, 128)}
_FIELDS_OF_KINDS = {
    "attention_chunk_size": {CHUNKED},
    "linear_num_value_heads": {LINEAR},
    "linear_attn_config": {LINEAR},
    "mamba_d_state": {MAMBA, BOTH},
    "mamba_num_heads": {MAMBA, BOTH},
    "ssm_state_size": {MAMBA, BOTH},
    "index_topk": {SPARSE, REUSED} | _COMPRESSED,
    "conv_L_cache": {CONVOLUTION},
}


def refuse_inexpressible(fields: ConfigFields) -> None:
    """Raise CatalogError, naming field and value, if a field says that layers are of a kind the catalog lacks.

    Fields whose name looks like attention but which are not understood count too.
    """
    for config in (fields.text, fields.outer):
        model_type = config.get("model_type")
        if isinstance(model_type, str) and model_type.lower() in REFUSED_TYPES:
            raise fields.refuse("model_type", REFUSED_TYPES[model_type.lower()])
    for name, why in REFUSED_FIELDS.items():
        if _says_something(fields.text.get(name)):
            raise fields.refuse(name, why)
    if _says_something(fields.outer.get("is_encoder_decoder")):
        raise fields.refuse("is_encoder_decoder", REFUSED_FIELDS["is_encoder_decoder"])
    for name, value in fields.text.items():
        unknown = _STRUCTURAL.search(str(name)) and name not in _READ and not _HARMLESS.search(str(name))
        if unknown and _says_something(value):
            raise fields.refuse(str(name), "a field about the layers that is not understood")


def refuse_unread(fields: ConfigFields, kinds: set[str]) -> None:
    """Raise CatalogError, naming field and value, if a field is about a kind of layer that no layer was read as."""
    span = fields.optional_integer("sliding_window", "sliding_window_size")
    for name, of in _FIELDS_OF_KINDS.items():
        value = fields.text.get(name)
        if name == "attention_chunk_size" and _is_chunked_by_class(fields):
            continue  # a chunk that no context can fill
        if _says_something(value) and not of & kinds and value != span:
            raise fields.refuse(name, f"a field about layers that {fields.model_type!r} does not say it has")
    # The class of Gemma 4 reads this only with that flag.
    is_read = fields.text.get("attention_k_eq_v") or fields.model_type.startswith("gemma4")
    if fields.text.get("num_global_key_value_heads") and not is_read:
        raise fields.refuse("num_global_key_value_heads", "heads of full-attention layers alone")


def _is_chunked_by_class(fields: ConfigFields) -> bool:
    return fields.family is not None and fields.family.others == "chunked"


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in (0, "", [], {})
