"""A scaling table and the day that it was tried on, as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.head import objectives_lines, remarks, trusted
from planner.export.tables.text import aligned, number, percent, wrapped
from planner.studies.scaling_result import Scaling
from planner.units import format_time

WIDTH = 100
_LABEL_WIDTH = 10


def scaling_table(found: Scaling, today: datetime.date, *, width: int = WIDTH) -> str:
    """Return the table from load to machines, the objectives over the day, and its cost.

    Parameters
    ----------
    found : Scaling
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    head = wrapped(
        f"{found.model} ({found.precision}, {found.runtime}): machines at each load of the day {found.day!r}, "
        f"{number(max(step.up_to_per_s for step in found.steps))} requests/s at most",
        width,
    )
    blocks = [head + objectives_lines(found, width), _steps(found), _objectives(found), _day(found)]
    blocks.append(remarks(_labels(found, today), _LABEL_WIDTH, width))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _steps(found: Scaling) -> list[str]:
    names = [f"{pool.machine} {pool.role}" for pool in found.pools]
    titles = ["measured up to", "carry", *names, "$/h"]
    rows = [
        [
            f"{number(step.measured_up_to_per_s)}/s",
            f"{number(step.up_to_per_s)}/s",
            *(
                f"{n:,}" + (f" ({r:,} replicas)" if r != n else "")
                for n, r in zip(step.machines, step.replicas, strict=True)
            ),
            "-" if step.cost_usd_per_hour is None else f"{step.cost_usd_per_hour:,.2f}",
        ]
        for step in found.steps
    ]
    return aligned(titles, rows, right=(titles[0], titles[1], "$/h"))


def _objectives(found: Scaling) -> list[str]:
    titles = ["objective", "may be late", "over the day", "worst hour", "while machines start", "holds"]
    rows = [
        [
            o.objective,
            _share(o.allowed),
            _share(o.late),
            _share(o.late_in_worst_hour),
            "-" if o.late_while_starting is None else _share(o.late_while_starting),
            "yes" if o.met else "NO",
        ]
        for o in found.objectives
    ]
    return aligned(titles, rows, right=tuple(titles[1:5]))


def _day(found: Scaling) -> list[str]:
    titles = ["from", "requests/s", *(f"{pool.machine} {pool.role}" for pool in found.pools), "late / allowed"]
    rows = [
        [_clock(hour.at_s), number(hour.rate_per_s), *(f"{n:.2f}" for n in hour.machines), f"{hour.late:.2f}"]
        for hour in found.hours
    ]
    return aligned(titles, rows, right=tuple(titles[1:]))


def _headroom(found: Scaling) -> str:
    return f"{number(found.added_per_s)} requests/s of" if found.added_per_s else percent(found.headroom - 1.0)


def _share(share: float) -> str:
    """Shares of late requests are small: two digits, and of nearly all as many nines as there are."""
    return f"{100.0 * share:.4f}".rstrip("0").rstrip(".") + " %"


def _clock(at_s: float) -> str:
    minutes = round(at_s / 60.0)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _labels(found: Scaling, today: datetime.date) -> Iterator[tuple[str, str]]:
    if found.cost_usd is not None and found.static_cost_usd is not None:
        saved = 1.0 - found.cost_usd / found.static_cost_usd
        yield (
            "Cost",
            (
                f"${found.cost_usd:,.2f} for {format_time(found.day_s)}; ${found.static_cost_usd:,.2f} with all "
                f"machines throughout ({percent(saved)} less)"
            ),
        )
    hours = ", ".join(
        f"{h:,.1f} h of {p.machine} {p.role}" for h, p in zip(found.machine_hours, found.pools, strict=True)
    )
    yield "Machines", f"{hours}, from order to release"
    yield (
        "Rule",
        (
            f"the load of the last {format_time(found.window_s)}, looked at every {format_time(found.interval_s)}, "
            f"with {_headroom(found)} headroom; machines serve {format_time(found.cold_start_s)} after their order "
            f"and go when the load has been lower for {format_time(found.hysteresis_s)}"
        ),
    )
    yield (
        "Proof",
        (
            f"{'HELD' if found.held else 'NOT HELD'}: {found.n_requests:,} requests of {len(found.seeds)} days "
            f"simulated, machines given back finishing what they have; {_share(found.goodput)} within "
            f"all objectives together"
        ),
    )
    yield from trusted(found, today)
