"""What a workload looks like, as text for a terminal."""

from __future__ import annotations

from planner.export.tables.text import aligned, labelled, number, percent
from planner.units import format_time
from planner.workload.describe import TokenSummary, WorkloadSummary


def workload_table(summary: WorkloadSummary, *, width: int = 100) -> str:
    """Return the figures of a trace or of a distribution of request sizes as text."""
    if summary.n_requests is None:
        head = f"{summary.name}: a distribution of request sizes"
    else:
        head = f"{summary.name}: {summary.n_requests:,} requests"
        if summary.duration_s is not None:
            head += f" in {format_time(summary.duration_s)}"
        if summary.rate_per_s is not None:
            head += f", {number(summary.rate_per_s)} requests/s"
    titles = ["tokens a request", "mean", "p50", "p90", "p99", "max"]
    rows = [_row("prompt", summary.prompt_tokens), _row("output", summary.output_tokens)]
    lines = [head, "", *aligned(titles, rows, right=titles[1:]), ""]
    remarks = [
        ("Correlation", f"{summary.correlation:.2f} between prompt and output tokens, "
         f"{summary.normal_score_correlation:.2f} between their normal scores (by rank)"),
        ("Context", f"{number(summary.decode_context_tokens)} tokens, the mean that a decode step attends to"),
        ("KV held", f"{number(summary.mean_kv_token_steps)} token-steps a request, E[output (prompt + output/2)]"),
    ]  # fmt: skip
    remarks = [*_arrivals(summary), *remarks, *(("Note", note) for note in summary.notes)]
    for label, text in remarks:
        lines += labelled(label, text, label_width=11, width=width)
    return "\n".join(lines) + "\n"


def _arrivals(summary: WorkloadSummary) -> list[tuple[str, str]]:
    """How requests came and what their prompts share, label and text."""
    remarks = []
    if summary.timestamp_unit is not None:
        steps = summary.timestamp_step_s
        remarks.append(
            ("Timestamps", summary.timestamp_unit + (f", in steps of {format_time(steps)}" if steps else ""))
        )
    if summary.arrival_cv2 is not None:
        text = f"squared coefficient of variation of the gaps {number(summary.arrival_cv2, 3)} (1 is Poisson, more is "
        text += "burstier)"
        if summary.timestamp_step_s and summary.variability is not None:
            text += f", which are those of the steps; of counts over ten steps {number(summary.variability, 3)}"
        remarks.append(("Arrivals", text))
    over = (("1 s", summary.dispersion_1s), ("10 s", summary.dispersion_10s), ("1 min", summary.dispersion_1min),
            ("10 min", summary.dispersion_10min))  # fmt: skip
    swings = [f"{number(value, 3)} over {window}" for window, value in over if value is not None]
    if swings:
        remarks.append(("Swings", f"counts vary as a Poisson process's times {', '.join(swings)}"))
    if summary.peak_minute is not None and summary.p95_minute is not None:
        peaks = f"the busiest minute is {number(summary.peak_minute, 3)} x the mean, the minute at P95 "
        remarks.append(("Peaks", peaks + f"{number(summary.p95_minute, 3)} x (--size-for)"))
    if summary.prefix_shared is not None:
        remarks.append(("Prefixes", f"{percent(summary.prefix_shared, 1)} of prompt tokens are the beginning of an "
                        "earlier prompt: what a prefix cache that forgets nothing has"))  # fmt: skip
    if summary.prefix_recorded is not None:
        remarks.append(("Cached", f"{percent(summary.prefix_recorded, 1)} of prompt tokens where this was recorded"))
    return remarks


def _row(name: str, tokens: TokenSummary) -> list[str]:
    return [name, *(f"{v:,.0f}" for v in (tokens.mean, tokens.p50, tokens.p90, tokens.p99, tokens.max))]
