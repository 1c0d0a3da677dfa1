"""Dense feed-forward blocks and experts of a Hugging Face config."""

from __future__ import annotations

from planner.catalog.imports.huggingface_fields import Fields
from planner.catalog.schema import DenseMlp, Experts

N_EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
N_EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_k",
    "moe_topk",
    "moe_top_k",
)
DENSE_WIDTH = ("dense_intermediate_size", "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
EXPERT_WIDTH = ("moe_intermediate_size", "moe_ffn_hidden_size", "expert_intermediate_size")
N_SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
SHARED_WIDTH = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
)
ACTIVATION = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act")
# Ways to place experts, or to add blocks beside them, that the catalog has no words for.
REFUSED_FIELDS = {
    "enable_moe_block": "a dense block beside the experts",
    "moe_layers_enum": "experts placed by an enumeration",
    "interleave_moe_layer_step": "experts placed by an interleaving step",
    "use_double_wide_mlp": "layers of different width",
    "moe_latent_size": "experts in a latent space",
}


def read_feed_forward(fields: Fields, *, n_layers: int, hidden_size: int) -> tuple[DenseMlp | None, Experts | None]:
    """Return the dense block (None where every layer has experts) and the experts (None without).

    Layers with experts follow `mlp_layer_types`, or a list in `moe_layer_freq`, or the rules of DeepSeek
    (`first_k_dense_replace`, `moe_layer_freq`), Qwen (`decoder_sparse_step`, `mlp_only_layers`) and Ernie
    (`moe_layer_start_index`, `moe_layer_end_index`, `moe_layer_interval`). The catalog keeps only how many
    layers are dense; which ones does not change any cost.

    Raises
    ------
    CatalogError
        Naming the field, when one is missing, contradictory or not expressible.
    """
    for name, why in REFUSED_FIELDS.items():
        if fields.text.get(name):
            raise fields.refuse(name, why)
    n_experts = fields.optional_integer(*N_EXPERTS) or 0
    n_expert_layers = sum(_layers_with_experts(fields, n_layers)) if n_experts else 0
    n_dense_layers = n_layers - n_expert_layers
    gated = _is_gated(fields)
    mlp = None
    if n_dense_layers:
        mlp = DenseMlp(intermediate_size=_dense_width(fields, hidden_size), gated=gated)
    if not n_expert_layers:
        return mlp, None
    if not gated:
        raise fields.refuse(fields.find(*ACTIVATION)[0], "experts that are not gated")
    width = fields.optional_integer(*EXPERT_WIDTH, minimum=1)
    if width is None:
        if n_dense_layers:  # intermediate_size is that of the dense layers, so nothing gives the experts'
            raise fields.missing(*EXPERT_WIDTH)
        width = fields.integer("intermediate_size")
    n_shared, shared_width = _shared_experts(fields, width)
    n_experts_per_token = fields.integer(*N_EXPERTS_PER_TOKEN)
    if n_experts_per_token > n_experts:
        raise fields.error(fields.find(*N_EXPERTS_PER_TOKEN)[0], f"must not exceed the {n_experts} experts")
    return mlp, Experts(
        n_experts=n_experts,
        n_experts_per_token=n_experts_per_token,
        intermediate_size=width,
        n_shared_experts=n_shared,
        shared_intermediate_size=shared_width,
        n_dense_layers=n_dense_layers,
    )


def _layers_with_experts(fields: Fields, n_layers: int) -> list[bool]:
    types = fields.layer_list("mlp_layer_types", n_layers)
    if types is not None:
        for kind in types:
            if kind not in ("dense", "sparse"):
                raise fields.refuse("mlp_layer_types", f"layers of type {kind!r}")
        return [kind == "sparse" for kind in types]
    if isinstance(fields.text.get("moe_layer_freq"), list):
        flags = fields.layer_list("moe_layer_freq", n_layers) or []
        for flag in flags:
            if flag not in (0, 1):
                raise fields.error("moe_layer_freq", "must be a number or a list of 0 and 1")
        return [bool(flag) for flag in flags]
    first = fields.optional_integer("first_k_dense_replace", "moe_layer_start_index") or 0
    last = fields.optional_integer("moe_layer_end_index")
    every = fields.optional_integer("moe_layer_freq", minimum=1) or 1
    step = fields.optional_integer("decoder_sparse_step", "moe_layer_interval", minimum=1) or 1
    only_dense = set(fields.integer_list("mlp_only_layers"))
    return [
        i >= first and (last is None or i <= last) and i % every == 0 and (i + 1) % step == 0 and i not in only_dense
        for i in range(n_layers)
    ]


def _shared_experts(fields: Fields, expert_width: int) -> tuple[int, int]:
    """Return the number of shared experts and their width together."""
    n_shared = fields.optional_integer(*N_SHARED)
    width = fields.optional_integer(*SHARED_WIDTH)
    if width and (n_shared or 0) > 1 and width != expert_width:
        # Some families give the width of one here and others that of all together.
        raise fields.refuse(fields.find(*SHARED_WIDTH)[0], f"a width of its own for {n_shared} shared experts")
    if width:
        n = n_shared or 1
        return n, n * width
    return n_shared or 0, (n_shared or 0) * expert_width


def _dense_width(fields: Fields, hidden_size: int) -> int:
    width = fields.optional_integer(*DENSE_WIDTH, minimum=1)
    if width is not None:
        return width
    ratio = fields.family.mlp_ratio if fields.family else None
    if ratio is None:
        raise fields.missing("intermediate_size")
    given = fields.optional_integer("expansion_ratio", minimum=1)
    if given is None:
        fields.assume(
            "mlp.intermediate_size",
            f"transformers, {fields.model_type} configuration: {ratio} x hidden_size where left out",
            family_default=True,
        )
    return (given or ratio) * hidden_size


def _is_gated(fields: Fields) -> bool:
    if fields.family:
        return fields.family.gated
    name, activation = fields.find(*ACTIVATION)
    if isinstance(activation, str) and ("glu" in activation.lower() or activation in ("silu", "swish")):
        return True
    if activation is None:
        raise fields.missing(*ACTIVATION)
    raise fields.refuse(name, f"cannot tell whether the feed-forward block of {fields.model_type!r} is gated")
