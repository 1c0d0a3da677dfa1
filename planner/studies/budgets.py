"""Budgets for the largest throughput: an amount, or what so many machines of one type cost or draw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from planner import units
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import ScenarioError, UnitError, UnknownNameError
from planner.scenario.changes import Change, budget

Kind = Literal["cost", "power", "machines"]
KINDS: tuple[Kind, ...] = ("cost", "power", "machines")
FORM = "cost=1520USD/h, power=408kW, machines=40, or what machines cost or draw: cost=40xdgx-h100"


@dataclass(frozen=True)
class ComparedBudget:
    """What a cluster may cost, draw or count at most.

    Attributes
    ----------
    kind : str
        `cost` [USD/h], `power` [W, rated] or `machines`.
    amount : float
    text : str
        As given, with the kind: `cost=40xdgx-h100`.
    machine : str or None
        Whose cost or power it is that many times.
    """

    kind: Kind
    amount: float
    text: str
    machine: str | None = None

    @property
    def words(self) -> str:
        """For people: `$1,520.00/h, the cost of 40 x dgx-h100`."""
        amount = {
            "cost": f"{units.format_money(self.amount)}/h",
            "power": f"{self.amount / 1e3:,.6g} kW rated",
            "machines": f"{self.amount:,.0f} machines",
        }[self.kind]
        if self.machine is None:
            return amount
        number = self.text.partition("=")[2].partition("x")[0]
        return f"{amount}, the {self.kind} of {number} x {self.machine}"

    @property
    def change(self) -> Change:
        """A scenario within it."""
        return budget(self.kind, self.amount)


def parse_budgets(
    texts: Sequence[str], catalog: Catalog, books: Sequence[str] = (), *, where: str = "budgets"
) -> tuple[ComparedBudget, ...]:
    """Read budgets.

    Parameters
    ----------
    texts : sequence of str
        `cost=1520USD/h`, `power=408kW`, `machines=40`; with `40xdgx-h100` as the amount what so many cost or draw.
        `machines=40xdgx-h100` is two budgets: their cost, and their power.
    catalog : Catalog
    books : sequence of str
        Price books that go before the default ones.
    where : str
        Where the texts come from, for errors.

    Raises
    ------
    ScenarioError, UnitError
        Not in that form, not positive, or a machine that no price book lists.
    UnknownNameError
        No such machine, or no such kind of budget, with near misses.
    """
    found = [one for text in texts for one in _parsed(text, catalog, books, where)]
    return tuple({one.text: one for one in found}.values())


def _parsed(text: str, catalog: Catalog, books: Sequence[str], where: str) -> Iterator[ComparedBudget]:
    name, equals, amount = (part.strip() for part in str(text).partition("="))
    if not equals or not amount:
        raise ScenarioError("not a budget", where=where, value=text, rule=FORM)
    kind = next((k for k in KINDS if k == name.casefold()), None)
    if kind is None:
        raise UnknownNameError.of("kind of budget", name, KINDS, where=where)
    machines = re.fullmatch(r"([+-]?\d+)\s*[x*]\s*(\S+)", amount)
    if machines:
        number, machine = int(machines[1]), catalog.machine(machines[2], where=where)
        if number < 1:
            raise ScenarioError("a budget is that of one machine at least", where=where, value=text)
        for each in ("cost", "power") if kind == "machines" else (kind,):
            most = number * _each(each, machine, catalog, books, where)
            yield ComparedBudget(each, most, f"{each}={number}x{machine.name}", machine.name)
        return
    yield ComparedBudget(kind, _amount(kind, amount, text, where), f"{kind}={amount}")


def _each(kind: str, machine: Machine, catalog: Catalog, books: Sequence[str], where: str) -> float:
    if kind == "power":
        return machine.rated_power_w
    price = catalog.price_of(machine.name, books)
    if price is None:
        raise ScenarioError(
            f"no price book lists {machine.name}", where=where, rule="a budget of its cost needs its price",
            fix="name a book with --prices, or give the amount, such as cost=1520USD/h",
        )  # fmt: skip
    return price.usd_per_hour


def _amount(kind: str, amount: str, text: str, where: str) -> float:
    if kind == "machines":
        if not re.fullmatch(r"\d+", amount) or int(amount) < 1:
            raise ScenarioError(
                "not a number of machines", where=where, value=text, rule="a whole number, 1 at least",
                fix="write it like machines=40 or machines=40xdgx-h100",
            )  # fmt: skip
        return float(amount)
    dimension = units.MONEY_PER_HOUR if kind == "cost" else units.POWER
    try:
        value = units.parse(amount, dimension)
    except UnitError as error:
        error.value = text
        if error.rule is None:
            example = "cost=1520USD/h or cost" if kind == "cost" else "power=408kW or power"
            error.fix = f"write it like {example}=40xdgx-h100"
        raise error.at(where) from None
    if value <= 0:
        raise ScenarioError("a budget is more than nothing", where=where, value=text, rule=FORM)
    return value
