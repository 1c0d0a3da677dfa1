"""The designs of a comparison: those asked for, or every baseline and pairing of the machines."""

from __future__ import annotations

from collections.abc import Sequence

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import ScenarioError, UnknownNameError, near_misses
from planner.pools.design import PAPER, Design, design_name, parse_design
from planner.scenario.scenario import ALL_MACHINES, CURRENT_MACHINES, PAPER_MACHINES

PAIR_FORM = "prefill=MACHINE,decode=MACHINE"
_MOST_BY_DEFAULT = 6  # machine types of which every pairing is compared unasked


def read_designs(
    designs: Sequence[str] | None, pairs: Sequence[str], machines: Sequence[str], catalog: Catalog
) -> tuple[list[Design], list[str]]:
    """Designs to compare, each once and in order, and notes about those left out.

    Parameters
    ----------
    designs : sequence of str or None
        Names as `planner optimize --design` takes them, or `paper` for the six of the Splitwise paper.
    pairs : sequence of str
        `prefill=X,decode=Y`, as designs of their own.
    machines : sequence of str
        Where neither is given: a baseline of each, every pairing of them that shares a network, and with the default
        machines also Splitwise-HHcap.
    catalog : Catalog

    Raises
    ------
    ScenarioError
        No designs at all; a pair in another form; a pair of machines that share no network.
    UnknownNameError
        An unknown design or machine, with near misses.
    """
    known = catalog.names(Machine)
    if designs is None and not pairs:
        return _all_of(machines, catalog)
    found: list[Design] = []
    for text in designs or ():
        if text.strip().casefold() == "paper":
            found += [parse_design(name, known) for name in PAPER]
        else:
            found.append(parse_design(text, known, where="designs"))
    found += [_pair(text, known) for text in pairs]
    if not found:
        raise ScenarioError(
            "there are no designs to compare", where="designs", rule="one design at least",
            fix="name some, such as Baseline-H100 and Splitwise-HA, or leave the list out for all of the machines",
        )  # fmt: skip
    for design in found:
        gap = _gap(design, catalog)
        if gap is not None:
            raise ScenarioError(
                f"{design.prefill_machine} and {design.decode_machine} cannot send each other KV caches",
                where="pairs" if any(_pair(text, known) == design for text in pairs) else "designs",
                value=gap, rule="KV caches cross within one site and one kind of network",
                fix="pair machines of one site and fabric family (planner catalog show MACHINE)",
            )  # fmt: skip
    return list({design.name: design for design in found}.values()), []


def machines_of(designs: Sequence[Design], machines: Sequence[str]) -> list[str]:
    """Machines that these designs need; the general ones need those of the scenario."""
    named = [name for design in designs for name in design.machines]
    return list(dict.fromkeys([*named, *(machines if any(not d.machines for d in designs) else ())]))


def find_baseline(name: str | None, designs: Sequence[Design], catalog: Catalog) -> str:
    """Name of the design that the others are held against: as asked for, else the first baseline, else the first.

    Raises
    ------
    ScenarioError
        It is none of the designs; with near misses.
    """
    names = [design.name for design in designs]
    if name is None:
        baselines = [n for n in names if n.startswith("Baseline-")]
        return baselines[0] if baselines else names[0]
    fix = None
    try:
        wanted = parse_design(name, catalog.names(Machine), where="relative_to").name
        fix = f"compare it too: --design {wanted}"
    except UnknownNameError:
        wanted = name
    if wanted not in names:
        raise ScenarioError(
            f"{name} is not among the designs compared", where="relative_to", rule=f"one of {', '.join(names)}",
            suggestions=near_misses(name, names), fix=fix,
        )  # fmt: skip
    return wanted


def _all_of(machines: Sequence[str], catalog: Catalog) -> tuple[list[Design], list[str]]:
    machines = PAPER_MACHINES if tuple(machines) == (CURRENT_MACHINES,) else machines  # of all, none could be named
    names = list(catalog.names(Machine)) if ALL_MACHINES in machines else list(dict.fromkeys(machines))
    for name in names:
        catalog.machine(name, where="machines")
    if len(names) > _MOST_BY_DEFAULT:
        raise ScenarioError(
            f"{len(names)} machines make {len(names) * (len(names) + 1)} designs", where="machines",
            rule=f"unasked, designs of at most {_MOST_BY_DEFAULT} machines are compared",
            fix="name the designs with --design and --pair; --design auto finds the best of all machines",
        )  # fmt: skip
    known = catalog.names(Machine)
    found = [parse_design(design_name(name, None), known) for name in names]
    pairings = [parse_design(design_name(p, d), known) for p in names for d in names]
    found += [design for design in pairings if _gap(design, catalog) is None]
    apart = sorted({
        " and ".join(sorted(design.machines)) for design in pairings if _gap(design, catalog) is not None
    })  # fmt: skip
    if tuple(names) == PAPER_MACHINES:
        found.append(parse_design("Splitwise-HHcap", known))
    return found, [f"not paired, for they share no network: {'; '.join(apart)}"] if apart else []


def _pair(text: str, known: Sequence[str]) -> Design:
    parts = [part.partition("=") for part in text.split(",")]
    roles = {role.strip().casefold(): machine.strip() for role, _, machine in parts}
    if len(parts) != 2 or set(roles) != {"prefill", "decode"} or not all(roles.values()):
        raise ScenarioError(
            "not a pair",
            where="pairs",
            value=text,
            rule=PAIR_FORM,
            fix="write it like prefill=dgx-h100,decode=dgx-a100",
        )
    return parse_design(f"Splitwise-{roles['prefill']}+{roles['decode']}", known, where="pairs")


def _gap(design: Design, catalog: Catalog) -> str | None:
    """What keeps KV caches from crossing between the two machines of a split design; None where they can."""
    if design.mixed or design.prefill_machine is None or design.decode_machine is None:
        return None
    sender, receiver = catalog.machine(design.prefill_machine), catalog.machine(design.decode_machine)
    if sender.site != receiver.site:
        return f"{sender.name} stands at {sender.site}, {receiver.name} at {receiver.site}"
    families = [catalog.fabric_of(machine).family for machine in (sender, receiver)]
    if families[0] != families[1]:
        return f"{sender.name} has a network of {families[0]}, {receiver.name} of {families[1]}"
    return None
