"""The parameters of `Efficiency` that measurements can tell something about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from planner.catalog.schema import Efficiency

ParameterUnit = Literal["fraction", "s", "tokens"]


@dataclass(frozen=True)
class Parameter:
    """One number that is fitted.

    Attributes
    ----------
    path : str
        As the runtime's file has it: `weight_streaming`, `gemm.bf16`, `layer_overhead`.
    unit : str
    lower, upper : float
        Bounds [unit].
    prior_sd : float
        Standard deviation of the prior, in the logarithm: 0.3 says within about 30 %.
    """

    path: str
    unit: ParameterUnit
    lower: float
    upper: float
    prior_sd: float

    @property
    def field(self) -> str:
        """The field of `Efficiency`."""
        head = self.path.partition(".")[0]
        return f"{head}_s" if self.unit == "s" else head

    @property
    def key(self) -> str | None:
        """The key within the field, for one that is a table."""
        return self.path.partition(".")[2] or None

    def of(self, efficiency: Efficiency) -> float | None:
        """Its value; None where the runtime has none."""
        value = getattr(efficiency, self.field, None)
        if self.key is not None and isinstance(value, dict):
            value = value.get(self.key)
        return None if value is None else float(value)


# Widths: how far a runtime's values lie from each other on the measured chips of the built-in catalog, roughly doubled.
_SCALARS = (
    Parameter("gemm_half_tokens", "tokens", 0.5, 4096.0, 0.7),
    Parameter("weight_streaming", "fraction", 0.02, 1.0, 0.25),
    Parameter("prefill_attention", "fraction", 0.01, 1.0, 0.4),
    Parameter("decode_attention", "fraction", 0.01, 1.0, 0.4),
    Parameter("kernel_launch", "s", 1e-8, 1e-3, 0.7),
    Parameter("layer_overhead", "s", 1e-8, 1e-1, 1.0),
    Parameter("prefill_layer_overhead", "s", 1e-8, 1e-1, 1.0),
    Parameter("prefill_layer_floor", "s", 1e-8, 1e-1, 1.0),
    Parameter("step_overhead", "s", 1e-8, 1.0, 1.0),
    Parameter("sequence_overhead", "s", 1e-9, 1e-1, 1.0),
    Parameter("all_reduce_alpha", "s", 1e-8, 1e-2, 1.0),
    Parameter("all_reduce_hop", "s", 1e-9, 1e-2, 1.0),
    Parameter("link", "fraction", 0.005, 1.0, 0.5),
    Parameter("slow_collective_link", "fraction", 0.005, 1.0, 0.7),
    Parameter("direct_all_reduce_alpha", "s", 1e-8, 1e-2, 1.0),
    Parameter("direct_link", "fraction", 0.005, 1.0, 0.5),
    Parameter("one_shot_alpha", "s", 1e-8, 1e-2, 1.0),
    Parameter("one_shot_link", "fraction", 0.005, 1.0, 0.5),
    Parameter("attention_launch", "s", 1e-8, 1e-3, 0.7),
    Parameter("elementwise_launch", "s", 1e-8, 1e-3, 0.7),
)
_GEMM_SD = 0.3
# Host time, which sums of kernels do not contain.
HOST = ("layer_overhead", "prefill_layer_overhead", "prefill_layer_floor", "step_overhead", "sequence_overhead")


def candidates(efficiency: Efficiency, precisions: Iterable[str]) -> list[Parameter]:
    """Parameters that may be fitted: those of the base runtime that are not zero.

    A zero in the base is a statement (an effect that this runtime does not have, or that data cannot separate from
    another), so it stays. GEMM efficiency is one parameter for each precision computed in.
    """
    table = {str(p): value for p, value in efficiency.gemm.items()}
    gemm = [Parameter(f"gemm.{p}", "fraction", 0.005, 1.0, _GEMM_SD) for p in sorted(set(precisions)) if p in table]
    scalars = [p for p in _SCALARS if p.field in Efficiency.model_fields]
    return [p for p in (*gemm, *scalars) if (p.of(efficiency) or 0.0) > 0.0]


def with_values(efficiency: Efficiency, parameters: Sequence[Parameter], values: Iterable[float]) -> Efficiency:
    """The efficiencies with some parameters at other values; bf16 and fp16 go together where they were equal."""
    update: dict[str, object] = {}
    for parameter, value in zip(parameters, values, strict=True):
        if parameter.key is None:
            update[parameter.field] = value
            continue
        base: dict[str, float] = getattr(efficiency, parameter.field)
        table = dict(update.get(parameter.field, base))  # type: ignore[call-overload]
        for key in twins(base, parameter.key):
            table[key] = value
        update[parameter.field] = table
    return efficiency.model_copy(update=update)


def without_host(efficiency: Efficiency) -> Efficiency:
    """The efficiencies with all host time at zero."""
    return efficiency.model_copy(update={f"{name}_s": 0.0 for name in HOST if f"{name}_s" in Efficiency.model_fields})


def ideal(efficiency: Efficiency) -> Efficiency:
    """The efficiencies of hardware at its peaks with nothing in its way: what no measurement can beat."""
    update: dict[str, object] = {"gemm": dict.fromkeys(efficiency.gemm, 1.0), "gemm_half_tokens": 0.0}
    update |= {p.field: 1.0 for p in _SCALARS if p.unit == "fraction"}
    update |= {name: 0.0 for name in Efficiency.model_fields if name.endswith("_s")}
    # What a runtime may have beside: second collectives and their limits, figures of single kinds of layers.
    update |= {name: field.default for name, field in Efficiency.model_fields.items() if not field.is_required()}
    update |= {"expert_imbalance": 1.0, "pipeline_bubble": 0.0}
    return efficiency.model_copy(update=update)


def twins(table: dict[str, float], key: str) -> tuple[str, ...]:
    """The keys that share one value: bf16 and fp16 run at one rate, unless the table says otherwise."""
    other = {"bf16": "fp16", "fp16": "bf16"}.get(key)
    return (key, other) if other in table and table[other] == table[key] else (key,)
