"""`planner procure`: find what to own, reserve and rent for several workloads over time."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner import units
from planner.cli.given import read_fraction
from planner.cli.options import CatalogOption, FormatOption, OutputOption, QuietOption
from planner.cli.output import (
    ProgressLine,
    check_output,
    show,
)
from planner.errors import EXIT_LIMIT_WITH_PLAN, EXIT_OK, PlannerError, UnitError

if TYPE_CHECKING:
    pass


class Rows(enum.StrEnum):
    """What the rows of a CSV are."""

    purchases = "purchases"
    pools = "pools"
    periods = "periods"
    predicted = "predicted"


def procure(
    fleet: Annotated[Path, typer.Argument(metavar="FLEET.yaml", help="A file with workloads and what may be had.")],
    sharing: Annotated[
        str | None,
        typer.Option(
            "--sharing",
            metavar="HOW",
            help="Whether workloads of one model share pools: separate, shared, or auto, whichever costs least. "
            "[default: auto]",
        ),
    ] = None,
    plan: Annotated[
        list[str] | None,
        typer.Option(
            "--plan",
            metavar="NAME",
            help="Price plan that may be used: owned, reserved_3y, reserved_2y, reserved_1y, on_demand, spot. "
            "Repeatable. [default: all]",
        ),
    ] = None,
    horizon: Annotated[
        str | None,
        typer.Option("--horizon", metavar="TIME", help="Such as '3 years' or '18 months'. [default: 1 year]"),
    ] = None,
    periods_a_day: Annotated[
        int | None,
        typer.Option("--periods-a-day", metavar="N", help="Parts of a day at most. [default: as many as differ]"),
    ] = None,
    prices: Annotated[
        list[str] | None,
        typer.Option("--prices", metavar="BOOK", help="Price book that goes before the default ones. Repeatable."),
    ] = None,
    quotes: Annotated[
        str | None,
        typer.Option(
            "--quotes",
            metavar="cheapest|newest",
            help="Which vendor's price counts where several sell a machine. [default: cheapest]",
        ),
    ] = None,
    pure: Annotated[
        bool, typer.Option("--pure", help="Also find the fleet all rented, all reserved and all owned.")
    ] = False,
    gap: Annotated[
        str | None,
        typer.Option("--gap", metavar="SHARE", help="Gap to the bound at which to stop, such as '1 %'. [default: 0]"),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option("--time-limit", metavar="TIME", help="Of the search; then exit code 4 or 5. [default: 300s]"),
    ] = None,
    solver: Annotated[
        str | None, typer.Option("--solver", metavar="highs|cbc", help="Solver. [default: highs]")
    ] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    rows: Annotated[Rows, typer.Option("--rows", help="What the rows of a CSV are.")] = Rows.purchases,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find what to own, reserve and rent so that several workloads are served over time at the least cost.

    The file lists workloads: each with its rate and latency objectives, or as batch work with a deadline. They may be
    of several models, and share pools or not. Demand may change over the day, grow, and take several courses; machines
    are bought once and used where they are needed. docs/portfolio.md has every field.

    Exit codes: 0 within the gap asked for, 2 bad input, 3 infeasible, 4 plan not proven within a limit, 5 no plan found
    in time.
    """
    check_output(output)
    fields: dict[str, Any] = {
        "sharing": sharing,
        "plans": plan or None,
        "horizon_months": _quantity(horizon, units.DURATION, "--horizon"),
        "periods_a_day": periods_a_day,
        "prices": prices or None,
        "quotes": quotes,
        "pure": True if pure else None,
        "gap": None if gap is None else read_fraction(gap, "--gap"),
        "time_limit_s": _quantity(time_limit, units.TIME, "--time-limit"),
        "solver": solver,
        "catalog": [str(path) for path in catalog] if catalog else None,
    }
    from planner.studies.plans import procure as find_fleet

    with ProgressLine(quiet=quiet) as progress, _locating():
        result = find_fleet(fleet, progress=progress, **{k: v for k, v in fields.items() if v is not None})
    dated = [line for line in result.purchases if line.date is not None]
    show(
        result, "procurement", format, output, quiet=quiet, records=lambda: result.to_records(rows.value),
        prices=dated,  # type: ignore[arg-type]
    )  # fmt: skip
    return EXIT_LIMIT_WITH_PLAN if result.solver.status == "limit" else EXIT_OK


# Field of a fleet -> the option that gives it.
_OPTION_OF = {
    "sharing": "--sharing", "plans": "--plan", "horizon_months": "--horizon", "periods_a_day": "--periods-a-day",
    "prices": "--prices", "gap": "--gap", "time_limit_s": "--time-limit", "solver": "--solver", "catalog": "--catalog",
}  # fmt: skip


@contextlib.contextmanager
def _locating() -> Iterator[None]:
    """Turn the field that an error names into its option; what the file says has its line already."""
    try:
        yield
    except PlannerError as error:
        error.where = _OPTION_OF.get(str(error.where).partition(".")[0], error.where)
        raise


def _quantity(text: str | None, dimension: units.Dimension, where: str) -> float | None:
    if text is None:
        return None
    try:
        return units.parse(text, dimension)
    except UnitError as error:
        raise error.at(where) from None
