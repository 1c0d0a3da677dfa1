"""Layers with a constant state of a Hugging Face config: linear attention, state space, short convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.layers import LinearAttention, Mamba, ShortConvolution

_STATE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}


def read_linear(fields: ConfigFields, *, n_heads: int, head_dim: int) -> LinearAttention:
    """Return the linear attention of a config: by its fields, gated delta rule, KDA or lightning attention."""
    state = _state_bytes(fields)
    nested = fields.text.get("linear_attn_config")
    if isinstance(nested, Mapping):
        part = ConfigFields(nested, fields.where)
        width = part.integer("head_dim")
        return LinearAttention(
            type="kda",
            n_heads=part.integer("num_heads"),
            n_key_heads=part.integer("num_heads"),
            key_head_dim=width,
            value_head_dim=width,
            conv_kernel=part.optional_integer("short_conv_kernel_size") or 0,
            gate_rank=0 if part.boolean("use_full_rank_gate", default=False) else width,
            decay_rank=width,
            state_bytes_per_element=state,
        )
    if fields.optional_integer("linear_num_value_heads"):
        return LinearAttention(
            type="gated-delta",
            n_heads=fields.integer("linear_num_value_heads"),
            n_key_heads=fields.integer("linear_num_key_heads"),
            key_head_dim=fields.integer("linear_key_head_dim"),
            value_head_dim=fields.integer("linear_value_head_dim"),
            conv_kernel=fields.optional_integer("linear_conv_kernel_dim") or 0,
            state_bytes_per_element=state,
        )
    n_linear = fields.optional_integer("linear_num_heads", "num_linear_heads")
    if n_linear:
        width = fields.integer("linear_head_dim")
        low_rank = fields.model_type == "kimi_linear"
        return LinearAttention(
            type="kda",
            n_heads=n_linear,
            n_key_heads=n_linear,
            key_head_dim=width,
            value_head_dim=width,
            conv_kernel=fields.optional_integer("linear_conv_kernel_dim", "short_conv_kernel_size") or 0,
            gate_rank=width if low_rank else 0,
            decay_rank=width if low_rank else 0,
            state_bytes_per_element=state,
        )
    known = fields.model_type.startswith(("minimax", "bailing"))
    if not known:
        raise fields.refuse("layer_types", f"linear attention of {fields.model_type!r}, whose shape no field gives")
    return LinearAttention(
        type="lightning",
        n_heads=n_heads,
        n_key_heads=n_heads,
        key_head_dim=head_dim,
        value_head_dim=head_dim,
        state_bytes_per_element=state,
    )


def read_mamba(fields: ConfigFields, *, hidden_size: int) -> Mamba:
    """Return the state-space layers of a config: Mamba-2 where it gives heads, else Mamba-1."""
    state = _state_bytes(fields)
    state_size = fields.integer("ssm_state_size", "mamba_d_state")
    kernel = fields.optional_integer("conv_kernel", "mamba_d_conv") or 4
    n_heads = fields.optional_integer("mamba_num_heads", "mamba_n_heads")
    if not n_heads:
        inner = (fields.optional_integer("mamba_expand", "expand") or 2) * hidden_size
        given = fields.text.get("mamba_dt_rank")
        rank = given if isinstance(given, int) and not isinstance(given, bool) else math.ceil(hidden_size / 16)
        return Mamba(
            type="mamba1",
            n_heads=inner,
            head_dim=1,
            state_size=state_size,
            conv_kernel=kernel,
            time_step_rank=rank,
            state_bytes_per_element=state,
        )
    width = fields.text.get("mamba_head_dim", fields.text.get("mamba_d_head"))
    if not isinstance(width, int):  # left out or "auto"
        inner = fields.optional_integer("mamba_d_ssm") or (fields.optional_integer("mamba_expand") or 2) * hidden_size
        if inner % n_heads:
            raise fields.error("mamba_n_heads", f"must divide the {inner} channels")
        width = inner // n_heads
    return Mamba(
        type="mamba2",
        n_heads=n_heads,
        head_dim=width,
        state_size=state_size,
        n_groups=fields.optional_integer("n_groups", "mamba_n_groups", "mamba_ngroups", minimum=1) or 1,
        conv_kernel=kernel,
        chunk_tokens=fields.optional_integer("chunk_size", "mamba_chunk_size", minimum=1) or 256,
        state_bytes_per_element=state,
    )


def read_convolution(fields: ConfigFields) -> ShortConvolution:
    """Return the short convolutions of a config (LFM2)."""
    return ShortConvolution(type="short-convolution", conv_kernel=fields.integer("conv_L_cache"))


def _state_bytes(fields: ConfigFields) -> float:
    for name in ("mamba_ssm_dtype", "mamba_ssm_cache_dtype"):
        value = fields.text.get(name)
        if isinstance(value, str) and value in _STATE_BYTES:
            return _STATE_BYTES[value]
    remark = "The state of recurrent layers is taken to be kept in 32 bits; config.json does not say."
    if remark not in fields.remarks:
        fields.remarks.append(remark)
    return 4.0
