"""Measured beside predicted, as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.head import remarks
from planner.export.tables.plan import headline
from planner.export.tables.text import aligned, labelled, number, percent, wrapped
from planner.studies.validate_result import FigureRow, ValidatedRun, Validation
from planner.units import format_time
from planner.workload.objectives import METRIC_TITLES

WIDTH = 100
_LABEL_WIDTH = 10
_OPTION_OF = {"derate": "--derate", "prefix_cached": "--prefix-cached", "max_batch": "--max-batch",
              "network": "--network", "chunked": "--chunked"}  # fmt: skip


def validation_table(found: Validation, today: datetime.date, *, width: int = WIDTH) -> str:
    """Return each run's figures, measured and predicted, and what explains what is off.

    Parameters
    ----------
    found : Validation
    today : date
        Not used: no price is shown.
    width : int
        Columns that running text may take.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    verdict = "Within the stated error" if found.within else "NOT within the stated error"
    step = f"+/- {percent(found.step_time_error or 0.0)}"
    first = (
        f"{verdict} of the step times ({step}): {found.model} ({found.precision}, {found.runtime}) on {found.cluster}"
    )
    blocks = [wrapped(first, width)]
    for run in found.runs:
        blocks += [_title(run, width), _figures(run), remarks(_labels(run), _LABEL_WIDTH, width)]
    ends = [line for text in _calibration(found) for line in labelled(*text, label_width=_LABEL_WIDTH, width=width)]
    ends += [line for n, note in enumerate(found.notes)
             for line in labelled("" if n else "Notes", note, label_width=_LABEL_WIDTH, width=width)]  # fmt: skip
    blocks += [ends] if ends else []
    if found.replanned is not None:
        blocks.append([line for text in headline(found.replanned) for line in wrapped(text, width)])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _title(run: ValidatedRun, width: int) -> list[str]:
    load = f"{number(run.rate_per_s)} requests/s" if run.rate_per_s is not None else (
        f"{number(run.concurrency)} under way" if run.concurrency is not None else "all at once"
    )  # fmt: skip
    sizes = f"{number(run.input_tokens)} + {number(run.output_tokens)} tokens"
    return wrapped(f"{run.source} ({run.tool}): {run.n_requests:,} requests of {sizes}, {load}", width)


def _figures(run: ValidatedRun) -> list[str]:
    titles = ["figure", "measured", "predicted", "within", "off", ""]
    rows = [
        [f"{METRIC_TITLES.get(r.metric, r.metric)} {r.statistic}", _value(r, r.measured), _value(r, r.predicted),
         f"{_value(r, r.low)} - {_value(r, r.high)}", f"{100 * r.error:+.1f} %", "" if r.within else "OUTSIDE"]
        for r in run.rows
    ]  # fmt: skip
    return aligned(titles, rows, right=("measured", "predicted", "off"))


def _value(row: FigureRow, value: float) -> str:
    return f"{number(value)}/s" if row.metric == "throughput" else format_time(value)


def _labels(run: ValidatedRun) -> Iterator[tuple[str, str]]:
    yield "Memory", f"{percent(run.memory_fraction)} of the KV memory in use on average, predicted"
    if run.within:
        return
    told = [c for c in run.causes if c.likely]
    if not told:
        near = f"; the nearest, {run.causes[0].words}, leaves {percent(run.causes[0].distance)}" if run.causes else ""
        yield "Cause", f"no single change explains it ({percent(run.distance)} off){near}"
    elif len(told) == 1:
        yield (
            "Cause",
            f"{told[0].cause}: as if {told[0].words} (leaves {percent(told[0].distance)} of {percent(run.distance)})",
        )
    else:
        yield (
            "Cause",
            "one of these, which this run cannot tell apart: " + "; ".join(f"{c.cause}, as if {c.words}" for c in told),
        )
    if run.step_factor is not None:
        yield "Steps", f"one factor of all step times that comes nearest: {number(run.step_factor, 3)}"


def _calibration(found: Validation) -> Iterator[tuple[str, str]]:
    if found.calibration and found.replanned is None:
        options = " ".join(f"{_OPTION_OF[name]} {value}" for name, value in found.calibration.items())
        yield "Calibrate", f"plan with what was measured: {options}, or --replan"
