"""The figures of a trace or of request sizes, in one record."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from planner.workload.burstiness import WINDOWS_S, dispersion, minute_factors, step_of, variability
from planner.workload.fitting import normal_score_correlation, weighted_correlation
from planner.workload.sizes import RequestSizes, Side
from planner.workload.traces import Trace


class TokenSummary(BaseModel):
    """Tokens of a request, in or out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class WorkloadSummary(BaseModel):
    """What a trace, or a distribution of request sizes, looks like. None where it does not say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    n_requests: int | None = Field(description="None for a distribution.")
    duration_s: float | None
    rate_per_s: float | None
    arrival_cv2: float | None = Field(description="Squared coefficient of variation of the gaps; 1 Poisson.")
    timestamp_unit: str | None = Field(default=None, description="Unit of the timestamps as they were read.")
    timestamp_step_s: float | None = Field(
        default=None, description="Steps in which timestamps come where many requests share one [s]."
    )
    variability: float | None = Field(
        default=None,
        description="Squared coefficient of variation that a plan takes: of the gaps, or where timestamps "
        "come in steps, of counts over ten of them.",
    )
    dispersion_1s: float | None = Field(default=None, description="Variance over mean of counts over 1 s; 1 Poisson.")
    dispersion_10s: float | None = Field(default=None, description="The same over 10 s.")
    dispersion_1min: float | None = Field(default=None, description="The same over 1 min.")
    dispersion_10min: float | None = Field(default=None, description="The same over 10 min.")
    p95_minute: float | None = Field(default=None, description="Rate of the minute at P95 over the mean rate.")
    peak_minute: float | None = Field(default=None, description="Rate of the busiest minute over the mean rate.")
    prefix_shared: float | None = Field(
        default=None, description="Share of prompt tokens that an earlier prompt began with: an ideal prefix cache."
    )
    prefix_recorded: float | None = Field(
        default=None, description="Share of prompt tokens that were cached where this was recorded."
    )
    n_dropped: int = Field(default=0, description="Failed requests that were left out.")
    prompt_tokens: TokenSummary
    output_tokens: TokenSummary
    correlation: float = Field(description="Product-moment correlation of prompt and output tokens.")
    normal_score_correlation: float = Field(description="Correlation of their normal scores, by rank.")
    decode_context_tokens: float = Field(description="Mean context of a decode step.")
    mean_kv_token_steps: float = Field(description="E[o (s + o/2)]: KV tokens held, summed over output tokens.")
    notes: list[str] = Field(default=[], description="Notes: what a reader must know of how the file was read.")

    def to_records(self) -> list[dict[str, object]]:
        """Return one flat record: nested names joined with `_`, so that several traces make one sheet."""
        record: dict[str, object] = {}
        for field, value in self:
            if isinstance(value, TokenSummary):
                record |= {f"{field}_{figure}": number for figure, number in value}
            elif field == "notes":
                record[field] = "; ".join(value)
            else:
                record[field] = value
        return [record]


def describe(trace_or_sizes: Trace | RequestSizes) -> WorkloadSummary:
    """Summarise a trace or request sizes.

    Parameters
    ----------
    trace_or_sizes : Trace or RequestSizes
        What to describe. Of a catalog workload, give `sizes_of(workload)`.

    Returns
    -------
    WorkloadSummary
        Percentiles are sizes that occur, the smallest whose share of requests reaches the percentile.
    """
    trace = trace_or_sizes if isinstance(trace_or_sizes, Trace) else None
    sizes = trace_or_sizes.sizes() if isinstance(trace_or_sizes, Trace) else trace_or_sizes
    return WorkloadSummary(
        name=sizes.name,
        n_requests=trace.n_requests if trace else None,
        duration_s=trace.duration_s if trace else None,
        rate_per_s=trace.rate_per_s if trace else None,
        arrival_cv2=trace.arrival_cv2 if trace else None,
        prompt_tokens=_summary(sizes, "prompt"),
        output_tokens=_summary(sizes, "output"),
        correlation=weighted_correlation(sizes.prompt_tokens, sizes.output_tokens, sizes.weight),
        normal_score_correlation=normal_score_correlation(sizes),
        decode_context_tokens=sizes.decode_context_tokens,
        mean_kv_token_steps=sizes.mean_kv_token_steps,
        **(_arrivals(trace) if trace else {}),
    )


def _arrivals(trace: Trace) -> dict[str, Any]:
    """How requests of a trace came, and what their prompts share."""
    found: dict[str, Any] = {
        "timestamp_unit": trace.unit,
        "prefix_shared": trace.blocks.share(trace.prompt_tokens) if trace.blocks else None,
        "prefix_recorded": trace.cached_share,
        "n_dropped": trace.n_dropped,
        "notes": list(trace.notes),
    }
    if trace.arrival_s is None or not trace.duration_s:
        return found
    names = ("dispersion_1s", "dispersion_10s", "dispersion_1min", "dispersion_10min")
    found |= {name: dispersion(trace.arrival_s, w) for name, w in zip(names, WINDOWS_S, strict=True)}
    found["timestamp_step_s"] = step_of(trace.arrival_s)
    told = variability(trace.arrival_s)
    found["variability"] = told.cv2 if told else None
    factors = minute_factors(trace.arrival_s)
    if factors:
        found |= {"p95_minute": factors["p95-minute"], "peak_minute": factors["peak-minute"]}
    return found


def _summary(sizes: RequestSizes, which: Side) -> TokenSummary:
    mean = sizes.mean_prompt_tokens if which == "prompt" else sizes.mean_output_tokens
    p50, p90, p99, largest = sizes.quantile(which, [0.5, 0.9, 0.99, 1.0])
    return TokenSummary(mean=mean, p50=float(p50), p90=float(p90), p99=float(p99), max=float(largest))
