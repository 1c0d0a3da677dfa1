"""Dense feed-forward blocks and experts of a Hugging Face config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from planner.catalog.imports.families import CLASSES
from planner.catalog.imports.huggingface_fields import ConfigFields
from planner.catalog.imports.huggingface_layers import ConfigLayer
from planner.catalog.layers import DenseMlp, Experts

N_EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts", "num_routed_experts")
N_EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_k",
    "moe_topk",
    "moe_top_k",
    "num_selected_experts",
)
DENSE_WIDTH = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
EXPERT_WIDTH = ("moe_intermediate_size", "moe_ffn_hidden_size", "expert_intermediate_size", "expert_ffn_hidden_size")
N_SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
SHARED_WIDTH = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "shared_experts_intermediate_size",
    "share_expert_dim",
    "share_expert_dims",
)
ACTIVATION = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act")
GATED_ACTIVATIONS = ("silu", "swish", "situ")
# Ways to place experts that the catalog has no words for.
REFUSED_FIELDS = {"expert_map": "experts placed by a map", "moe_num_experts_per_layer": "experts that differ by layer"}


def read_feed_forward(
    fields: ConfigFields, layers: list[ConfigLayer], *, hidden_size: int
) -> tuple[list[DenseMlp], Experts | None]:
    """Return the dense blocks (none where every layer has experts) and the experts (None without).

    Layers with experts follow `mlp_layer_types`, or a list in `moe_layer_freq`, `moe_layers` or `moe_layers_enum`,
    or the rules of DeepSeek (`first_k_dense_replace`, `moe_layer_freq`), Qwen (`decoder_sparse_step`,
    `mlp_only_layers`), Ernie (`moe_layer_start_index`, `moe_layer_end_index`, `moe_layer_interval`), Llama 4
    (`interleave_moe_layer_step`) and Jamba (`expert_layer_period`, `expert_layer_offset`). The catalog keeps only
    how many layers are dense; which ones does not change any cost.

    Raises
    ------
    CatalogError
        Naming the field, when one is missing, contradictory or not expressible.
    """
    for name, why in REFUSED_FIELDS.items():
        if fields.text.get(name):
            raise fields.refuse(name, why)
    n_layers = len(layers)
    n_experts = _n_experts(fields)
    gated = _is_gated(fields)
    with_experts = _layers_with_experts(fields, layers) if n_experts else [False] * n_layers
    dense = [i for i, layer in enumerate(layers) if not with_experts[i] and layer.feed_forward in ("", "mlp")]
    if fields.model_type.startswith("longcat"):  # two attentions and dense blocks beside each layer of experts
        with_experts, dense = [i % 2 == 0 for i in range(n_layers)], list(range(n_layers))
    mlps: list[DenseMlp] = []
    if dense:
        widths = Counter(_dense_widths(fields, n_layers, hidden_size, n_experts)[i] for i in dense)
        counts = len(widths) > 1 or len(dense) + sum(with_experts) != n_layers
        mlps = [DenseMlp(intermediate_size=w, gated=gated, n_layers=n if counts else 0) for w, n in widths.items()]
    if not any(with_experts):
        return mlps, None
    return mlps, _experts(fields, n_experts, sum(with_experts), n_layers=n_layers, gated=gated, dense=bool(dense))


def _n_experts(fields: ConfigFields) -> int:
    nested = fields.text.get("ffn_config")
    if fields.model_type == "dbrx" and isinstance(nested, Mapping):
        return ConfigFields(nested, fields.where).integer("moe_num_experts")
    if fields.text.get("enable_moe_block") is False:
        return 0
    found = fields.optional_integer(*N_EXPERTS) if not _listed(fields, *N_EXPERTS) else _first(fields, *N_EXPERTS)
    # One expert is no mixture (Jamba, Hunyuan and Granite say so of their dense models).
    return found if found and found > 1 else 0


def _listed(fields: ConfigFields, *names: str) -> bool:
    return any(isinstance(fields.text.get(name), list) for name in names)


def _first(fields: ConfigFields, *names: str) -> int | None:
    """Read a count that some families list by layer (all alike) or by modality (text first)."""
    for name in names:
        value = fields.text.get(name)
        if isinstance(value, list):
            by_modality = name.startswith("moe_") and len(value) == 2
            alike = value and isinstance(value[0], int) and not isinstance(value[0], bool) and value[0] > 0
            if not alike or not (by_modality or len(set(map(str, value))) == 1):
                raise fields.refuse(name, "experts that differ by layer")
            if by_modality and value[0] != value[1]:
                fields.remarks.append(f"Of {name}, that of text alone.")
            return int(value[0])
    return fields.optional_integer(*names)


def _experts(
    fields: ConfigFields, n_experts: int, n_layers_with: int, *, n_layers: int, gated: bool, dense: bool
) -> Experts:
    nested = fields.text.get("ffn_config")
    part = ConfigFields(nested, fields.where) if fields.model_type == "dbrx" and isinstance(nested, Mapping) else fields
    width = _first(part, *EXPERT_WIDTH) or 0
    if not width:
        own = part.model_type in ("llama4_text", "jamba", "dbrx") or part is not fields
        if dense and not own:  # intermediate_size is that of the dense layers, so nothing gives the experts'
            raise fields.missing(*EXPERT_WIDTH)
        width = part.integer("intermediate_size", "ffn_hidden_size")
    n_shared, shared_width = _shared_experts(fields, width)
    per_token = _first(part, *N_EXPERTS_PER_TOKEN)
    if per_token is None:
        raise fields.missing(*N_EXPERTS_PER_TOKEN)
    zero = fields.optional_integer("zero_expert_num") or 0
    if zero:
        share = n_experts / (n_experts + zero)
        fields.remarks.append(f"{per_token} experts a token, of which {1 - share:.0%} on average compute nothing.")
        per_token = max(1, round(per_token * share))
    if not 0 < per_token <= n_experts:
        raise fields.error(fields.find(*N_EXPERTS_PER_TOKEN)[0], f"must be between 1 and the {n_experts} experts")
    return Experts(
        n_experts=n_experts,
        n_experts_per_token=per_token,
        intermediate_size=width,
        gated=gated,
        n_shared_experts=n_shared,
        shared_intermediate_size=shared_width,
        latent_size=fields.optional_integer("moe_latent_size", "routed_expert_hidden_size") or 0,
        n_dense_layers=n_layers - n_layers_with,
    )


def _layers_with_experts(fields: ConfigFields, layers: list[ConfigLayer]) -> list[bool]:
    n_layers = len(layers)
    if any(layer.feed_forward for layer in layers):
        return [layer.feed_forward == "moe" for layer in layers]
    types = fields.layer_list("mlp_layer_types", n_layers)
    if types is not None:
        for kind in types:
            if kind not in ("dense", "sparse", "moe", "hash_moe"):
                raise fields.refuse("mlp_layer_types", f"layers of type {kind!r}")
        return [kind != "dense" for kind in types]
    if isinstance(fields.text.get("moe_layer_freq"), list):
        flags = fields.layer_list("moe_layer_freq", n_layers) or []
        for flag in flags:
            if flag not in (0, 1):
                raise fields.error("moe_layer_freq", "must be a number or a list of 0 and 1")
        return [bool(flag) for flag in flags]
    enumerated = fields.text.get("moe_layers_enum")
    if isinstance(enumerated, str):
        chosen = {int(part) for part in enumerated.split(",") if part.strip().isdigit()}
        return [i in chosen for i in range(n_layers)]
    for name in ("moe_layers_enum", "moe_layers"):
        if fields.text.get(name):
            chosen = set(fields.integer_list(name))
            return [i in chosen for i in range(n_layers)]
    period = fields.optional_integer("expert_layer_period", minimum=1)
    if period:
        offset = fields.optional_integer("expert_layer_offset") or 0
        return [i % period == offset for i in range(n_layers)]
    first = _first(fields, "first_k_dense_replace", "moe_layer_start_index", "num_dense_layers", "moe_start_layer") or 0
    last = _first(fields, "moe_layer_end_index")
    every = fields.optional_integer("moe_layer_freq", minimum=1) or 1
    step = fields.optional_integer(
        "decoder_sparse_step", "moe_layer_interval", "interleave_moe_layer_step", "moe_layer_frequency", minimum=1
    )
    only_dense = set(fields.integer_list("mlp_only_layers"))
    return [
        i >= first
        and (last is None or i <= last)
        and i % every == 0
        and (i + 1) % (step or 1) == 0
        and i not in only_dense
        for i in range(n_layers)
    ]


def _shared_experts(fields: ConfigFields, expert_width: int) -> tuple[int, int]:
    """Return the number of shared experts and the width of all that every token passes beside the experts."""
    if fields.model_type == "llama4_text":
        return 1, expert_width
    n_shared = _first(fields, *N_SHARED)
    width = fields.optional_integer(*SHARED_WIDTH)
    beside = 0
    # A dense block beside the experts of each layer: Gemma 4, Arctic, Grok-2.
    if any(fields.text.get(name) is True for name in ("enable_moe_block", "parallel_attn_mlp_res", "residual_moe")):
        beside = fields.integer("intermediate_size")
    if width and (n_shared or 0) > 1 and width != expert_width:
        # Some families give the width of one here and others that of all together.
        raise fields.refuse(fields.find(*SHARED_WIDTH)[0], f"a width of its own for {n_shared} shared experts")
    if width:
        n = n_shared or 1
        return n, n * width + beside
    return (n_shared or 0) or (1 if beside else 0), (n_shared or 0) * expert_width + beside


def _dense_widths(fields: ConfigFields, n_layers: int, hidden_size: int, n_experts: int) -> list[int]:
    """Width of the dense block of each layer."""
    given = fields.optional_integer("dense_intermediate_size", "intermediate_size_mlp", minimum=1)
    if given is not None and (n_experts or fields.model_type == "llama4_text"):
        return [given] * n_layers
    if isinstance(fields.text.get("intermediate_size"), list):
        return fields.numbers("intermediate_size", n_layers) or []
    width = _dense_width(fields, hidden_size)
    if fields.boolean("use_double_wide_mlp", default=False):
        n_shared = fields.optional_integer("num_kv_shared_layers") or 0
        return [width * (2 if i >= n_layers - n_shared else 1) for i in range(n_layers)]
    return [width] * n_layers


def _dense_width(fields: ConfigFields, hidden_size: int) -> int:
    width = fields.optional_integer(*DENSE_WIDTH, minimum=1)
    if width is not None:
        if fields.model_type == "lfm2" and fields.boolean("block_auto_adjust_ff_dim", default=True):
            return _adjusted(fields, width)
        return width // 2 if fields.model_type == "qwen" else width
    ratio = fields.family.mlp_ratio if fields.family else None
    if ratio is None:
        raise fields.missing("intermediate_size")
    given = fields.optional_integer("expansion_ratio", minimum=1)
    if given is None:
        fields.assume(
            "mlp.intermediate_size",
            f"{CLASSES}, {fields.model_type} configuration: {ratio} x hidden_size where left out",
            family_default=True,
        )
    return (given or ratio) * hidden_size


def _adjusted(fields: ConfigFields, width: int) -> int:
    """Width that LFM2 makes of the one it gives: two thirds, times a factor, up to a multiple."""
    factor, multiple = fields.text.get("block_ffn_dim_multiplier", 1.0), fields.optional_integer("block_multiple_of")
    width = int(2 * width / 3)
    if isinstance(factor, int | float) and not isinstance(factor, bool):
        width = int(factor * width)
    multiple = multiple or 256
    return multiple * ((width + multiple - 1) // multiple)


def _is_gated(fields: ConfigFields) -> bool:
    if fields.family:
        return fields.family.gated
    name, activation = fields.find(*ACTIVATION)
    if isinstance(activation, str) and ("glu" in activation.lower() or activation.lower() in GATED_ACTIVATIONS):
        return True
    if activation is None:
        raise fields.missing(*ACTIVATION)
    raise fields.refuse(name, f"cannot tell whether the feed-forward block of {fields.model_type!r} is gated")
