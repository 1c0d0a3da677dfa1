"""What every result of a study says beside its rows: versions, names, prices, notes, and whether it was simulated."""

from __future__ import annotations

import datetime
import html
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from planner._version import __version__
from planner.catalog.catalog import Catalog
from planner.errors import EXIT_OK
from planner.planning.certificate import Result
from planner.planning.plan import Plan, PriceUsed
from planner.planning.record import LESS_SLACK, NOT_SIMULATED
from planner.scenario.resolve import Problem


class Study(Result):
    """A result with rows."""

    planner_version: str = Field(default=__version__, description="Version of planner that computed it.")
    catalog_digest: str = Field(description="Digest of the catalog's content.")
    verified: str = Field(
        default=NOT_SIMULATED, description="Whether what is shown was simulated; rows may say it for themselves."
    )

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return EXIT_OK

    def to_records(self) -> list[dict[str, Any]]:
        """Flat dicts: rows for a sheet or a DataFrame."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """A notebook's form of the rows."""
        return html_table(self.to_records())


class Head(Study):
    """A result of one model, workload and scenario."""

    model: str = Field(description="Name of the LLM.")
    runtime: str = Field(description="Name of the serving software.")
    precision: str = Field(description="Precision of the weights.")
    workload: str = Field(description="Name of the workload.")
    prices: list[PriceUsed] = Field(description="Prices that it rests on, by machine.")
    step_time_error: float | None = Field(default=None, description="Largest stated error of the step times, a share.")
    notes: list[str] = Field(description="Notes on the inputs.")
    scenario: dict[str, Any] = Field(description="Scenario that was asked for, defaults filled in.")

    @property
    def oldest_price_date(self) -> datetime.date | None:
        """Date of the oldest price; None where no machine has one."""
        return min((price.date for price in self.prices), default=None)


def head_of(problem: Problem, prices: Sequence[PriceUsed] = (), notes: Sequence[str] | None = None) -> dict[str, Any]:
    """The fields of a `Head` that a problem knows, at these prices; its own notes unless others are given."""
    return {
        "catalog_digest": digest_of(problem.catalog),
        "model": problem.llm.name,
        "runtime": problem.runtime.name,
        "precision": problem.scenario.precision or problem.llm.weight_precision,
        "workload": problem.sizes.name,
        "prices": list(prices),
        "notes": list(problem.notes if notes is None else dict.fromkeys(notes)),
        "scenario": problem.scenario.dump(),
    }


def head_of_plans(problem: Problem, plans: Sequence[Plan]) -> dict[str, Any]:
    """The same of a result made of plans: their prices, notes and errors together."""
    used = {price.machine: price for plan in plans for price in plan.prices}
    notes = [note for plan in plans for note in plan.notes if not note.startswith(LESS_SLACK)]
    return head_of(problem, [used[name] for name in sorted(used)], notes) | {
        "step_time_error": max((plan.step_time_error for plan in plans), default=None)
    }


def digest_of(catalog: Catalog) -> str:
    """The catalog's digest as results have it."""
    return catalog.digest()[:16]


def html_table(records: Sequence[dict[str, Any]]) -> str:
    """Flat records as an HTML table, without what no row says."""
    every = dict.fromkeys(name for record in records for name in record)
    names = [name for name in every if any(record.get(name) is not None for record in records)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join("<tr>" + "".join(f"<td>{_cell(r.get(name))}</td>" for name in names) + "</tr>" for r in records)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return html.escape(f"{value:,.6g}" if isinstance(value, float) else str(value))
