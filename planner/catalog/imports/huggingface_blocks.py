"""Models found by architecture search, whose config describes each layer by itself (`block_configs`, Nemotron)."""

from __future__ import annotations

from collections.abc import Mapping

from planner.catalog.imports.huggingface_attention import HEAD_DIM, N_HEADS
from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.layers import AnyMixer, DenseMlp, MultiHeadAttention

WIDTH_MULTIPLE = 256


def read_blocks(fields: ConfigFields, *, n_layers: int, hidden_size: int) -> tuple[list[AnyMixer], list[DenseMlp]]:
    """Return the attention and the dense blocks of each kind, with their numbers of layers.

    Notes
    -----
    A layer may lack either. The dense width is 2/3 of `ffn_mult` hidden sizes, up to a multiple of 256
    (modeling_decilm.py of the model repositories).

    Raises
    ------
    CatalogError
        Linear blocks, sparse attention and other replacements.
    """
    blocks = fields.layer_list("block_configs", n_layers) or []
    n_heads = fields.integer(*N_HEADS)
    head_dim = fields.optional_integer(*HEAD_DIM, minimum=1) or hidden_size // n_heads
    mixers: dict[MultiHeadAttention, int] = {}
    widths: dict[int, int] = {}
    for block in blocks:
        if not isinstance(block, Mapping):
            raise fields.error("block_configs", "must have one object for each layer")
        attention, ffn = block.get("attention"), block.get("ffn")
        if not isinstance(attention, Mapping) or not isinstance(ffn, Mapping):
            raise fields.error("block_configs", "must have attention and ffn in each layer")
        for name, part in (("attention", attention), ("ffn", ffn)):
            for replaced in ("replace_with_linear", "sparsify", "moe", "mamba"):
                if part.get(replaced):
                    raise fields.refuse("block_configs", f"{name} with {replaced}")
        if not attention.get("no_op"):
            mixer = _attention(fields, attention, n_heads, head_dim)
            mixers[mixer] = mixers.get(mixer, 0) + 1
        if not ffn.get("no_op"):
            width = _width(fields, ffn, hidden_size)
            widths[width] = widths.get(width, 0) + 1
    return (
        [mixer.model_copy(update={"n_layers": n}) for mixer, n in mixers.items()],
        [DenseMlp(intermediate_size=width, gated=True, n_layers=n) for width, n in widths.items()],
    )


def _attention(fields: ConfigFields, block: Mapping[str, object], n_heads: int, head_dim: int) -> MultiHeadAttention:
    n_kv, group = block.get("num_key_value_heads"), block.get("n_heads_in_group")
    if isinstance(group, int) and group > 0 and n_heads % group == 0:
        n_kv = n_heads // group
    if not isinstance(n_kv, int) or n_kv < 1 or n_heads % n_kv:
        raise fields.error("block_configs", f"must group the {n_heads} heads evenly in each layer with attention")
    window = block.get("window_length")
    return MultiHeadAttention(
        type="mha" if n_kv == n_heads else "mqa" if n_kv == 1 else "gqa",
        n_heads=n_heads,
        n_kv_heads=n_kv,
        head_dim=head_dim,
        window_tokens=window if isinstance(window, int) and window > 0 else None,
    )


def _width(fields: ConfigFields, block: Mapping[str, object], hidden_size: int) -> int:
    given, factor = block.get("intermediate_size"), block.get("ffn_mult")
    if isinstance(given, int) and given > 0:
        return given
    if not isinstance(factor, int | float) or factor <= 0:
        raise fields.error("block_configs", "must give the ffn_mult of each layer with a feed-forward block")
    return -(-int(2 * factor * hidden_size / 3) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
