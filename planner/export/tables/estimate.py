"""One step, operator by operator, as text for a terminal."""

from __future__ import annotations

from planner.export.tables.text import fitted, labelled, number, percent, stacked, wrapped
from planner.studies.estimate import Estimate
from planner.units import format_data, format_time

WIDTH = 100


def what_of(estimate: Estimate) -> str:
    """The step in words: `decode step, 32 sequences with 1,024 tokens of context`."""
    if estimate.phase == "decode":
        return f"decode step, {_of(estimate.batch, 'sequence')} with {estimate.tokens:,} tokens of context"
    what = f"prefill step, {_of(estimate.batch, 'prompt')} of {estimate.tokens:,} tokens"
    return what + (f", {percent(estimate.prefix_cached, 1)} of them cached" if estimate.prefix_cached else "")


def estimate_table(estimate: Estimate, *, width: int = WIDTH, table_width: int | None = None) -> str:
    """Return an estimate as text: the step, what bounds it, and its operators.

    FLOP and bytes are those of one accelerator of the replica, over all layers of the step. Text is wrapped at `width`;
    a table wider than `table_width` is divided (left out: it is as wide as it is).
    """
    what = what_of(estimate)
    done = "prompt tokens/s" if estimate.phase == "prefill" else "tokens/s"
    drafts = []
    if estimate.phase == "decode" and estimate.draft_tokens and estimate.time_per_token_s is not None:
        drafts.append(
            f"{_of(estimate.draft_tokens, 'draft token')} verified a sequence; at {number(estimate.tokens_per_step)} "
            f"tokens a step that is {format_time(estimate.time_per_token_s)} a token"
        )
    head = [
        f"{estimate.model} ({estimate.precision}, {estimate.runtime}) on {estimate.machine}, {estimate.layout}: {what}",
        f"{format_time(estimate.latency_s)}, +/- {percent(estimate.step_time_error)}; mostly {estimate.bound}-bound",
        f"Error: {estimate.step_time_basis}",
        *drafts,
        f"{number(estimate.tokens_per_s)} {done} a replica; compute {percent(estimate.compute_utilisation)} and memory "
        f"{percent(estimate.memory_utilisation)} of peak; room for {estimate.resident_tokens:,.0f} KV-cache tokens",
    ]
    wanted = estimate.batch * estimate.tokens
    if wanted > estimate.resident_tokens:
        head.append(f"Does not fit: this step needs {wanted:,} KV-cache tokens")
    titles = ["operator", "time", "share", "bound", "achieved", "GFLOP", "bytes", "FLOP/byte"]
    rows = [
        [
            row.name,
            format_time(row.time_s),
            percent(row.share, 1),
            row.bound,
            "-" if row.achieved_fraction is None else percent(row.achieved_fraction),
            number(row.flop / 1e9, 3) if row.flop else "-",
            format_data(row.bytes) if row.bytes else "-",
            "-" if row.flop_per_byte is None else number(row.flop_per_byte, 3),
        ]
        for row in estimate.breakdown
    ]
    right = ("time", "share", "achieved", "GFLOP", "bytes", "FLOP/byte")
    table = stacked(fitted(titles, rows, right=right, width=table_width))
    lines = [line for text in head for line in wrapped(text, width)]
    legend = [
        *labelled(
            "achieved",
            "of peak FLOP/s if bound by compute, of peak memory bandwidth if bound by memory",
            label_width=12,
            width=width,
        ),
        *labelled("GFLOP, bytes", "of one accelerator, all layers together", label_width=12, width=width),
    ]
    return "\n".join([*lines, "", *table, "", *legend]) + "\n"


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
