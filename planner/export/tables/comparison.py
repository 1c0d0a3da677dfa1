"""Designs side by side as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from planner.export.tables.head import objectives_lines, remarks, trusted
from planner.export.tables.text import counted, fitted, labelled, number, percent, wrapped
from planner.studies.comparison_result import Comparison, ComparisonRow
from planner.workload.objectives import parse_objective

WIDTH = 100
_LABEL_WIDTH = 10
_NONE = "-"
Table = tuple[list[str], list[list[str]], list[str]]  # titles, rows, titles of the columns aligned to the right
_METRICS = (("ttft", "TTFT"), ("tbt", "TBT"), ("e2e", "E2E"))


def comparison_table(
    comparison: Comparison, today: datetime.date, *, width: int = WIDTH, table_width: int | None = None
) -> str:
    """Return a comparison as text.

    Parameters
    ----------
    comparison : Comparison
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take.
    table_width : int, optional
        Columns that a table may take, beyond which it goes on in another one below; left out: what it needs.

    Returns
    -------
    str
        Lines, the last one ended; for each workload two tables: what each design takes, and how quick it is.
    """
    blocks = [_headline(comparison, width)]
    for workload in comparison.workloads:
        for questions in groups_of(comparison):
            rows = [r for r in comparison.rows if r.workload == workload and r.question in questions]
            if rows:
                blocks += _section(workload, questions, rows, width, table_width)
    blocks.append(remarks(_labels(comparison, today), _LABEL_WIDTH, width))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _headline(comparison: Comparison, width: int) -> list[str]:
    n = len(comparison.designs)
    first = (
        f"{counted(n, 'design')} for {comparison.model} ({comparison.precision}, {comparison.runtime}), each sized as "
        f"well as can be; (x) is over {comparison.relative_to}"
    )
    lines = wrapped(first, width) + objectives_lines(comparison, width)
    return lines if comparison.complete else [*lines, "INTERRUPTED: only the rows that were done"]


def _objective(text: str) -> str:
    objective = parse_objective(text)
    return f"{objective.label} <= {objective.limit_label}"


def groups_of(comparison: Comparison) -> list[list[str]]:
    """Questions that go into one table: what is least at the same rate, and each budget by itself."""
    minimised = [q for q in comparison.questions if not q.startswith("most load")]
    return [group for group in (minimised, *([q] for q in comparison.questions if q not in minimised)) if group]


def _section(
    workload: str, questions: Sequence[str], rows: Sequence[ComparisonRow], width: int, table_width: int | None
) -> Iterator[list[str]]:
    merged = list(merged_rows(rows))
    several = len(questions) > 1
    head = [section_title(workload, questions)]
    for titles, cells, right in (_sizes(merged, several), _latencies(merged, several)):
        if cells:
            for block in fitted(titles, cells, right=right, keys=2 if several else 1, width=table_width):
                yield head + block
                head = []
    label = max(len(row.design) for row, _ in merged)
    remarks = [line for row, _ in merged for line in _remark(row, label, width)]
    if remarks:
        yield remarks


def section_title(workload: str, questions: Sequence[str]) -> str:
    first, *rest = questions
    if not rest:
        return f"{workload}: {first}"
    rate = first.partition(" at ")[2]
    return f"{workload}: {', '.join(q.partition(' at ')[0] for q in questions)} at {rate}"


def merged_rows(rows: Sequence[ComparisonRow]) -> Iterator[tuple[ComparisonRow, list[str]]]:
    """Rows of one design that are the same plan as one, with the objectives that it is best for."""
    best_for: dict[tuple[str, str | None], list[str]] = {}
    first: dict[tuple[str, str | None], ComparisonRow] = {}
    designs = list(dict.fromkeys(row.design for row in rows))
    for row in sorted(rows, key=lambda r: designs.index(r.design)):
        key = (row.design, row.pools)
        first.setdefault(key, row)
        best_for.setdefault(key, []).append(row.objective)
    yield from ((first[key], objectives) for key, objectives in best_for.items())


def _sizes(rows: Sequence[tuple[ComparisonRow, list[str]]], several: bool) -> Table:
    throughput = rows[0][0].objective == "throughput"
    titles = ["design", *(["best for"] if several else []), "machines"]
    titles += ["requests/s"] if throughput else []
    titles += ["$/h", "$/M tokens", "kW rated", "rack units"]
    lines = []
    for row, objectives in rows:
        cells = [row.design, *([", ".join(objectives)] if several else []), _machines(row)]
        if throughput:
            cells.append(_with_ratio(None if row.rate_per_s is None else number(row.rate_per_s), row.relative_rate))
        cost, power, rack = row.cost_usd_per_hour, row.power_w, row.rack_units
        cells += [
            _with_ratio(None if cost is None else f"{cost:,.2f}", row.relative_cost),
            _NONE if row.cost_usd_per_million_tokens is None else f"{row.cost_usd_per_million_tokens:,.3g}",
            _with_ratio(None if power is None else f"{power / 1e3:,.1f}", row.relative_power),
            _with_ratio(None if rack is None else f"{rack:,}", row.relative_rack_units),
        ]
        lines.append(cells)
    return titles, lines, titles[2 if several else 1 :]


def _machines(row: ComparisonRow) -> str:
    """`27 + 3` prefill and decode machines, `40` mixed ones, or both."""
    if not row.found:
        return "no plan" if row.status == "infeasible" else "not solved"
    split = f"{row.prefill_machines:,} + {row.decode_machines:,}" if row.prefill_machines else ""
    mixed = f"{row.mixed_machines:,}" if row.mixed_machines else ""
    return " + ".join(filter(None, (split, f"{mixed} mixed" if split and mixed else mixed)))


def _latencies(rows: Sequence[tuple[ComparisonRow, list[str]]], several: bool) -> Table:
    found = [(row, objectives) for row, objectives in rows if row.found]
    titles = ["design", *(["best for"] if several else [])]
    titles += [f"{name} p50/p90/p99" for _, name in _METRICS] + ["tightest", "slack"]
    lines = []
    for row, objectives in found:
        cells = [row.design, *([", ".join(objectives)] if several else [])]
        cells += [_percentiles(row, metric) for metric, _ in _METRICS]
        tight = "" if row.tightest_objective is None else parse_objective(row.tightest_objective).label
        cells += [tight, "" if row.tightest_slack_fraction is None else percent(row.tightest_slack_fraction)]
        lines.append(cells)
    return titles, lines, ["slack"]


def _percentiles(row: ComparisonRow, metric: str) -> str:
    values = [getattr(row, f"{metric}_{p}_s") for p in ("p50", "p90", "p99")]
    if None in values:
        return "grows without end"
    scale, unit = (1.0, "s") if max(values) >= 0.9995 else (1e3, "ms")
    return " / ".join(number(scale * v, 3) for v in values) + f" {unit}"


def _remark(row: ComparisonRow, label: int, width: int) -> Iterator[str]:
    """Why there is no plan; what a general design has come to; what is not proven."""
    if row.reason is not None:
        yield from labelled(row.design, f"no plan: {row.reason}", label_width=label, width=width)
    elif row.pools is not None and row.plan is not None and row.design != row.plan.design:
        yield from labelled(row.design, f"{row.pools} ({row.plan.design})", label_width=label, width=width)
    if row.status == "unconfirmed":
        yield from labelled(row.design, "simulation has not confirmed it", label_width=label, width=width)
    if row.status == "limit" and row.plan is not None:
        gap = percent(row.plan.solver.gap, 1)
        yield from labelled(row.design, f"not proven best: gap {gap} at a limit", label_width=label, width=width)


def _labels(comparison: Comparison, today: datetime.date) -> Iterator[tuple[str, str]]:
    found = [row for row in comparison.rows if row.plan is not None]
    simulated = any(row.latencies == "simulated" for row in found)
    yield "Latency", "simulated" if simulated else "predicted; planner compare --verify simulates each plan"
    yield "Machines", "prefill + decode, or those that do both; spares included"
    verified = sorted({row.verified for row in found if row.verified})
    if found:
        proven = sum(row.status == "optimal" for row in found)
        said = _simulations(found) if simulated else "; ".join(verified)
        yield "Proof", f"{proven} of {counted(len(found), 'plan')} proven optimal for their design; {said}"
    yield from trusted(comparison, today)


def _simulations(rows: Sequence[ComparisonRow]) -> str:
    """How the plans were simulated, all together."""
    of = [row.plan.certificate for row in rows if row.plan is not None and row.plan.certificate is not None]
    requests = sorted({certificate.requests_per_run for certificate in of})
    each = " to ".join(f"{n:,}" for n in dict.fromkeys((requests[0], requests[-1])))
    confirmed = sum(certificate.status == "confirmed" for certificate in of)
    runs = max(len(certificate.seeds) for certificate in of)
    return f"{confirmed} confirmed by simulation, {counted(runs, 'run')} of {each} requests each"


def _with_ratio(text: str | None, ratio: float | None) -> str:
    """`193.60 (1.27x)`."""
    if text is None:
        return _NONE
    return text if ratio is None else f"{text} ({ratio:.2f}x)"
