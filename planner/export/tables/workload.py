"""What a workload looks like, as text for a terminal."""

from __future__ import annotations

from planner.export.tables.text import aligned, labelled, number
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
    if summary.arrival_cv2 is not None:
        remarks.insert(0, ("Arrivals", f"squared coefficient of variation of the gaps {number(summary.arrival_cv2, 3)} "
                           "(1 is Poisson, more is burstier)"))  # fmt: skip
    for label, text in remarks:
        lines += labelled(label, text, label_width=11, width=width)
    return "\n".join(lines) + "\n"


def _row(name: str, tokens: TokenSummary) -> list[str]:
    return [name, *(f"{v:,.0f}" for v in (tokens.mean, tokens.p50, tokens.p90, tokens.p99, tokens.max))]
