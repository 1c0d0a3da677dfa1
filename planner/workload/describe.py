"""The figures of a trace or of request sizes, in one record."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

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
    prompt_tokens: TokenSummary
    output_tokens: TokenSummary
    correlation: float = Field(description="Product-moment correlation of prompt and output tokens.")
    normal_score_correlation: float = Field(description="Correlation of their normal scores, by rank.")
    decode_context_tokens: float = Field(description="Mean context of a decode step.")
    mean_kv_token_steps: float = Field(description="E[o (s + o/2)]: KV tokens held, summed over output tokens.")

    def to_records(self) -> list[dict[str, object]]:
        """Return one flat record: nested names joined with `_`, so that several traces make one sheet."""
        record: dict[str, object] = {}
        for field, value in self:
            if isinstance(value, TokenSummary):
                record |= {f"{field}_{figure}": number for figure, number in value}
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
    )


def _summary(sizes: RequestSizes, which: Side) -> TokenSummary:
    mean = sizes.mean_prompt_tokens if which == "prompt" else sizes.mean_output_tokens
    p50, p90, p99, largest = sizes.quantile(which, [0.5, 0.9, 0.99, 1.0])
    return TokenSummary(mean=mean, p50=float(p50), p90=float(p90), p99=float(p99), max=float(largest))
