"""Which machines a scenario considers, and why each of the others is not considered."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.catalog.catalog import Catalog
from planner.catalog.prices import RENTED, PriceBook
from planner.catalog.schema import Accelerator, Machine
from planner.catalog.validation import one_line
from planner.errors import InfeasibleError, InputError, ScenarioError, UnknownNameError
from planner.pools.configuration import Serving, configurations_of, is_enough, layouts
from planner.pools.design import Design
from planner.pools.limits import Limits
from planner.scenario.scenario import ALL_MACHINES, CURRENT_MACHINES, PAPER_MACHINES, Scenario

FEWEST_IN_MACHINE = 4  # accelerators of machines that are taken in groups where the model does not fit one
MOST_FOR_ONE = 8  # machines of such a group
CURRENT_DAYS = 365  # a price is current if no rented price of the catalog is newer by more


@dataclass(frozen=True)
class Considered:
    """The machines of a scenario.

    Attributes
    ----------
    machines : tuple of Machine
        In name order.
    unpriced : tuple of str
        Left out because no price book lists them and the objective or a budget needs a price.
    notes : tuple of str
        Why others are left out; one line for each reason.
    """

    machines: tuple[Machine, ...]
    unpriced: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def wanted_machines(scenario: Scenario) -> tuple[str, ...]:
    """Machines that a scenario names, or the word for those of the catalog that it means; a preset after names."""
    if scenario.preset is not None and scenario.machines == (CURRENT_MACHINES,):
        return PAPER_MACHINES
    return scenario.machines


def is_open(machines: Sequence[str]) -> bool:
    """Whether machines are taken from the catalog by a rule, so that those that cannot be used drop out."""
    return ALL_MACHINES in machines or CURRENT_MACHINES in machines


def consider(scenario: Scenario, catalog: Catalog, design: Design, limits: Limits, serving: Serving) -> Considered:
    """Choose the machines of a scenario.

    Raises
    ------
    InputError
        A machine that is asked for by name is unknown, broken or without the price that it needs.
    InfeasibleError
        The stock of every machine is zero.
    """
    wanted = wanted_machines(scenario)
    notes: list[str] = []
    if CURRENT_MACHINES in wanted and ALL_MACHINES not in wanted:
        names = _current(
            scenario,
            catalog,
            [*wanted, *design.machines, *(n for n in limits.max_machines if n not in limits.kinds)],
            notes,
        )
    elif ALL_MACHINES in wanted:
        names = list(catalog.names(Machine))
    else:
        names = list(dict.fromkeys([*wanted, *design.machines]))
    if design.machines:
        names = list(design.machines)
        notes.clear()
    machines = _sound(sorted(names), catalog, notes, drop=is_open(wanted) and not design.machines)
    gone = [name for name in design.machines if limits.most_of(name) == 0]
    if gone:
        raise InfeasibleError(
            f"the stock of {' and '.join(gone)} is zero", where="max_machines", rule="it is of the design"
        )
    short = [m for m in machines if limits.most_of(m.single_name) < m.group]
    machines = [m for m in machines if m not in short]
    needs_price = scenario.objective == "cost" or limits.max_cost_usd_per_hour is not None
    if not design.machines:  # which says what each pool is made of
        sold = {m.name for m in machines if not needs_price or catalog.price_of(m.name, scenario.prices) is not None}
        machines = _in_groups_where_needed(machines, catalog, limits, serving, named=not is_open(wanted), sold=sold)
    if not machines:
        raise _none_left(short, limits)
    machines = _with_rack_units(machines, limits, is_open(wanted))
    unpriced = [m for m in machines if needs_price and catalog.price_of(m.name, scenario.prices) is None]
    if unpriced and (not is_open(wanted) or len(unpriced) == len(machines)):
        # A machine asked for by name must not disappear silently. If it cannot hold the model, that is what matters.
        unpriced = [m for m in unpriced if configurations_of(catalog, m, serving)[0]]
        if unpriced:
            raise _without_price(unpriced, scenario, catalog, alone=len(unpriced) == len(machines))
    return Considered(tuple(m for m in machines if m not in unpriced), tuple(m.name for m in unpriced), tuple(notes))


def machines_of_kind(kind: str, catalog: Catalog, *, where: str) -> dict[str, int]:
    """Return the machines that hold accelerators of a kind, and how many of them each holds.

    Parameters
    ----------
    kind : str
        An accelerator (`h100-sxm`), or what the names of several begin with (`h100`: H100 SXM, PCIe and NVL alike).
    catalog : Catalog
    where : str
        Where the name was written, for the message.

    Raises
    ------
    UnknownNameError
        No accelerator is called so, and no machine.
    """
    known = catalog.names(Accelerator)
    members = {kind} if kind in known else {name for name in known if name.startswith(f"{kind}-")}
    if not members:
        families = {name.split("-")[0] for name in known}
        raise UnknownNameError.of(
            "machine or accelerator", kind, [*families, *known, *catalog.names(Machine)], where=where
        )
    held = {}
    for name in catalog.names(Machine):
        machine, _ = catalog.check(Machine, name)
        if machine is not None and machine.accelerator in members:
            held[name] = machine.n_accelerators
    return held


def owned_machines(owned: Mapping[str, int], catalog: Catalog, wanted: Sequence[str]) -> dict[str, int]:
    """Return what is owned in machines, where some of it is told in accelerators.

    Parameters
    ----------
    owned : mapping of str to int
        By machine, or by accelerator as `machines_of_kind` knows them.
    catalog : Catalog
    wanted : sequence of str
        Machines that are considered.

    Raises
    ------
    UnknownNameError
        No such machine or accelerator.
    ScenarioError
        A negative number; accelerators that no machine considered holds, or that several do.
    """
    machines: dict[str, int] = {}
    for name, count in owned.items():
        if count < 0:
            raise ScenarioError("nobody owns fewer than no machines", where="owned", value=f"{name}={count}")
        if name in catalog.names(Machine):
            machines[name] = machines.get(name, 0) + count
            continue
        held = machines_of_kind(name, catalog, where="owned")
        among = sorted(held if is_open(wanted) else set(held) & set(wanted))
        if len(among) != 1:
            which = f"each of {', '.join(among)} does" if among else "none of the machines considered does"
            raise ScenarioError(
                f"which machines hold the {count} {name}?", where="owned", value=f"{name}={count}",
                rule=f"what is owned stands in machines, and {which}",
                fix="name one machine that holds them with --machine, or own machines: dgx-h100=3",
            )  # fmt: skip
        machines[among[0]] = machines.get(among[0], 0) + count // held[among[0]]
    return machines


def _current(scenario: Scenario, catalog: Catalog, asked: Sequence[str], notes: list[str]) -> list[str]:
    """Machines asked for, and those with a price that is current; says of the others what is not.

    A price is current if it is at most a year older than the newest rented price of the catalog in use, whatever
    the day is today, or if its book is named.
    """
    known = catalog.names(Machine)
    names = {name for name in asked if name not in (ALL_MACHINES, CURRENT_MACHINES)}
    newest = newest_rented(catalog, scenario.prices)
    stale: list[str] = []
    unpriced: list[str] = []
    for name in known:
        if name in names:
            continue
        try:
            price = catalog.price_of(name, scenario.prices)
        except InputError as error:
            notes.append(f"not considered: {name}: {one_line(error)}")
            continue
        if price is None:
            unpriced.append(name)
        elif price.book in scenario.prices or newest is None or (newest - price.date).days <= CURRENT_DAYS:
            names.add(name)
        else:
            stale.append(f"{name} ({price.date})")
    if stale:
        notes.append(
            f"not considered, for a price more than a year older than the newest ({newest}): {', '.join(stale)}; "
            "--machine names one, --preset splitwise those of the paper"
        )
    if unpriced:
        notes.append(f"not considered for want of a price: {', '.join(unpriced)}")
    return sorted(names)


def newest_rented(catalog: Catalog, books: Sequence[str]) -> datetime.date | None:
    """Date of the newest rented price of the books that count; None where there is none."""
    dates = []
    for name in catalog.names(PriceBook):
        book, _ = catalog.check(PriceBook, name)
        if book is not None and (book.default or name in books):
            dates += [book.date_of(plan, machine) for plan, machine in book.listed() if plan in RENTED]
    return max(dates, default=None)


def _sound(names: Sequence[str], catalog: Catalog, notes: list[str], *, drop: bool) -> list[Machine]:
    """Read the machines; one that is broken is an error, or where nobody asked for it by name a note."""
    found = []
    for name in names:
        try:
            machine = catalog.machine(name, where="machines")
            catalog.accelerator_of(machine)
            catalog.fabric_of(machine)
        except InputError as error:
            if not drop:
                raise
            notes.append(f"not considered: {name}: {one_line(error)}")
        else:
            found.append(machine)
    return found


def _with_rack_units(machines: list[Machine], limits: Limits, is_open: bool) -> list[Machine]:
    """Machines that a limit on rack units can be counted for."""
    unknown = [m for m in machines if limits.max_rack_units is not None and m.rack_units is None]
    if unknown and (not is_open or len(unknown) == len(machines)):
        raise ScenarioError(
            f"the rack units of {', '.join(m.name for m in unknown)} are not known", where="machines",
            rule="a limit on rack units needs those of every machine considered",
            fix="write rack_units into machines/NAME.yaml of a --catalog folder, or leave the machine out",
        )  # fmt: skip
    return [m for m in machines if m not in unknown]


def _as_priced(catalog: Catalog, machine_name: str) -> str:
    """A machine with its price plan where that is not on demand: `dgx-h100 reserved_1y`."""
    plan = catalog.plan_of(machine_name)
    return machine_name if plan == "on_demand" else f"{machine_name} {plan}"


def _without_price(unpriced: Sequence[Machine], scenario: Scenario, catalog: Catalog, *, alone: bool) -> ScenarioError:
    return ScenarioError(
        f"no price book lists {', '.join(_as_priced(catalog, m.name) for m in unpriced)}",
        where="machines",
        rule=f"{'the objective cost' if scenario.objective == 'cost' else 'a cost budget'} needs prices",
        fix="write prices/NAME.yaml in a --catalog folder, name a book with --prices, or "
        + ("use --objective power" if alone else "leave it out"),
    )


def _none_left(short: Sequence[Machine], limits: Limits) -> InfeasibleError:
    groups = [m for m in short if m.group > 1 and limits.most_of(m.single_name) > 0]
    if groups:
        return InfeasibleError(
            "no machine is left", where="max_machines",
            value=", ".join(f"{m.single_name}={limits.most_of(m.single_name):g}" for m in groups),
            rule=f"a replica on {groups[0].name} takes {groups[0].group} machines of the stock",
            fix="raise the stock, or name smaller groups",
        )  # fmt: skip
    return InfeasibleError("no machine is left", where="max_machines", rule="every machine's stock is zero")


def _in_groups_where_needed(
    machines: list[Machine], catalog: Catalog, limits: Limits, serving: Serving, *, named: bool, sold: Collection[str]
) -> list[Machine]:
    """Take machines that cannot hold the model and its longest request alone in groups of the fewest that can.

    One replica lies on each group. Only machines that were named, or all of them if none holds it; of those `sold`, for
    others have no price in groups either, and that they are too small is what matters.
    """
    alone = {m.name for m in machines if is_enough(m, catalog.accelerator_of(m), serving)}
    if alone == {m.name for m in machines} or (alone and not named):
        return machines
    found = []
    for machine in machines:
        grouped = None
        is_whole = machine.group == 1 and machine.n_accelerators >= FEWEST_IN_MACHINE
        if machine.name in sold and machine.name not in alone and is_whole:
            most = min(MOST_FOR_ONE, limits.most_of(machine.name))
            accelerator = catalog.accelerator_of(machine)
            sizes = [machine.in_groups_of(n) for n in range(2, int(most) + 1)]
            grouped = next((g for g in sizes if is_enough(g, accelerator, serving)), None)
            if grouped is None and not layouts(machine, accelerator, serving):
                # What is wrong is then the longest request, not the model.
                grouped = next((g for g in reversed(sizes) if layouts(g, accelerator, serving)), None)
        found.append(grouped or machine)
    return found


def limits_of_groups(limits: Limits, machines: Sequence[Machine]) -> tuple[Limits, list[str]]:
    """Stock and numbers of machines in the groups that they are taken in, and what to tell of groups."""
    groups = [m for m in machines if m.group > 1]
    if not groups:
        return limits, []
    stock = dict(limits.max_machines)
    for machine in groups:
        most = limits.max_machines.get(machine.single_name)
        if most is None:
            continue
        if any(m is not machine and m.single_name == machine.single_name for m in machines):
            raise ScenarioError(
                f"{machine.single_name} is considered in groups of several sizes, which would share its stock",
                where="max_machines", fix="name one size",
            )  # fmt: skip
        stock[machine.name] = most // machine.group
    sizes = {m.group for m in machines}
    total = limits.max_total_machines
    if total is not None and len(sizes) > 1:
        raise ScenarioError(
            "machines are considered in groups of several sizes", where="max_total_machines", value=total,
            rule="their number counts machines, of which a group has several", fix="limit the stock of each type",
        )  # fmt: skip
    if total is not None:
        total //= sizes.pop()
    each = ", ".join(f"{m.name} is {m.group} x {m.single_name}" for m in groups)
    note = f"one replica spans several machines, and counts, spares and prices are those of a group: {each}"
    kinds = {  # a group takes of a stock in accelerators what its machines do
        kind: {**of_kind, **{m.name: of_kind[m.single_name] * m.group for m in groups if m.single_name in of_kind}}
        for kind, of_kind in limits.kinds.items()
    }
    return replace(limits, max_machines=stock, max_total_machines=total, kinds=kinds), [note]
