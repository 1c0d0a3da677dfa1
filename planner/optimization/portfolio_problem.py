"""What the program of a fleet is given: periods, groups of requests, supplies of machines, facts and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.pools.candidate import Candidate

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Span:
    """A period: hours of the horizon that it stands for, how long it lasts in its day, and the day's stage."""

    name: str
    hours: float
    day_hours: float
    stage: int


@dataclass(frozen=True)
class Block:
    """One group in one period.

    Attributes
    ----------
    group : str
    period : int
    curves : str
        Which set of candidates serves it; blocks of the same traffic share one.
    rate_per_s : float
        What must be served, if the group is formed; of batch work, the most that could be [requests/s].
    """

    group: str
    period: int
    curves: str
    rate_per_s: float


@dataclass(frozen=True)
class LotWork:
    """Batch requests of a day: how many, of which group, and the periods in which they may be served."""

    group: str
    requests: float
    periods: tuple[int, ...]


@dataclass(frozen=True)
class Supply:
    """A way to have machines of one type.

    Attributes
    ----------
    machine, plan : str
    fixed_usd_per_hour : float
        Of each machine held, in use or not, over `fixed_hours` of the horizon [USD/h].
    usage_usd_per_hour : float
        Of each machine switched on [USD/h].
    is_held : bool
        Whether the number is decided once; else it is another one in each period.
    least, most : int, int or None
        Machines that must and may be had.
    minimum_order : int
        None, or at least so many.
    fixed_hours : float
        Hours of the horizon in which a machine is paid for.
    absent : frozenset of int
        Stages in which it is not there yet.
    availability : float
        Machines' worth that one of them does: below 1 where they are taken away now and then.
    is_spot : bool
    when : str
        What tells it from others of its machine and plan: `from month 12`, `2 terms`.
    stock : str
        What its `most` is counted of together with others; left out: its machine and plan.
    """

    machine: str
    plan: str
    fixed_usd_per_hour: float
    usage_usd_per_hour: float
    is_held: bool
    fixed_hours: float
    least: int = 0
    most: int | None = None
    minimum_order: int = 1
    absent: frozenset[int] = frozenset()
    availability: float = 1.0
    is_spot: bool = False
    when: str = ""
    stock: str = ""

    @property
    def name(self) -> str:
        """`dgx-h100 on_demand`, or `dgx-h100 owned from month 12`."""
        return " ".join(filter(None, (self.machine, self.plan, self.when)))


def stocks(supplies: Sequence[Supply]) -> list[list[int]]:
    """Indices of supplies that share a stock: those of one offer, had at several dates or sites."""
    found: dict[str, list[int]] = {}
    for i, supply in enumerate(supplies):
        if supply.most is not None and supply.most > supply.least:
            found.setdefault(supply.stock or f"{supply.machine} {supply.plan}", []).append(i)
    return [together for together in found.values() if len(together) > 1]


@dataclass(frozen=True)
class MachineFacts:
    """What limits count of a machine: rated power [W] and rack units."""

    rated_power_w: float
    rack_units: int


@dataclass(frozen=True)
class Cap:
    """A limit on what is held or rented at any time, of which each machine takes a share.

    Attributes
    ----------
    name : str
        As people say it: `max_machines dgx-h100`, `max_power`, `sites.dublin.max_power`.
    weights : mapping of str to float
        What one machine of each type takes: 1 of a stock of machines, its accelerators, its rated power [W].
    most : float
    is_rented : bool
        Whether only machines on demand and spot count.
    """

    name: str
    weights: Mapping[str, float]
    most: float
    is_rented: bool = False

    def taken(self, machines: Mapping[str, int]) -> float:
        """What machines take together."""
        return math.fsum(weight * machines.get(machine, 0) for machine, weight in self.weights.items())


@dataclass(frozen=True)
class Spending:
    """A limit on what is paid in some months.

    Attributes
    ----------
    name : str
    of_held : mapping of int to float
        Of one machine held, by supply: purchase, running cost, reservation [USD].
    of_used : mapping of (int, int) to float
        Of one machine of a supply switched on throughout a period [USD].
    of_changes : float
        Share of all hours of the horizon in which changes in the day are paid.
    most : float
        [USD]
    """

    name: str
    of_held: Mapping[int, float]
    of_used: Mapping[tuple[int, int], float]
    of_changes: float
    most: float


@dataclass(frozen=True)
class FleetLimits:
    """Limits on what is had and what is paid. Budget in mean USD/h.

    `max_spot` is the share of a group's machines of any type that may be spot, `on_demand_floor` the share of rented
    machines of any type that must not be.
    """

    caps: Sequence[Cap] = ()
    max_spot: Mapping[str, float] = field(default_factory=dict)
    on_demand_floor: float = 0.0
    max_cost_usd_per_hour: float | None = None
    spending: Sequence[Spending] = ()


@dataclass(frozen=True, eq=False)
class PortfolioProblem:
    """Everything the program is about.

    Attributes
    ----------
    spans : sequence of Span
    blocks : sequence of Block
        One for each group and period in which it has requests.
    curves : mapping of str to mapping of str to Candidate
        Sets of candidates by name, each by key.
    parts : mapping of str to frozenset of str
        Parts of each group; every part ends up in one group that is formed.
    spares : mapping of str to int
        Spare machines of each pool of a group.
    lots : sequence of LotWork
        The curves of their groups are straight between known counts.
    supplies : sequence of Supply
    machines : mapping of str to MachineFacts
    limits : FleetLimits
    change_usd : float
        Cost of a machine that starts, or changes its group or role, between two parts of a day.
    has_fixed_roles : bool
        Whether machines that are held keep their group and role through the day.
    """

    spans: Sequence[Span]
    blocks: Sequence[Block]
    curves: Mapping[str, Mapping[str, Candidate]]
    parts: Mapping[str, frozenset[str]]
    spares: Mapping[str, int]
    lots: Sequence[LotWork]
    supplies: Sequence[Supply]
    machines: Mapping[str, MachineFacts]
    limits: FleetLimits
    change_usd: float = 0.0
    has_fixed_roles: bool = False

    def before(self, t: int) -> int:
        """The part of the day before one; after midnight the last of the same day."""
        same = [i for i, span in enumerate(self.spans) if span.stage == self.spans[t].stage]
        return same[same.index(t) - 1]

    def usd_per_hour_of_a_change(self, t: int) -> float:
        """Mean cost of one machine that starts at the beginning of a part, every day that it stands for."""
        return self.change_usd * self.spans[t].hours / self.spans[t].day_hours / self.total_hours

    @property
    def total_hours(self) -> float:
        """Hours of all periods."""
        return sum(s.hours for s in self.spans)

    @property
    def batch_groups(self) -> frozenset[str]:
        """Groups that have deadlines."""
        return frozenset(lot.group for lot in self.lots)


@dataclass(frozen=True)
class Column:
    """Pools that serve a block: machines by candidate, spares not included."""

    counts: Mapping[str, int]


@dataclass(frozen=True)
class Cut:
    """At these prices of machines no pools serve the block for less."""

    block: int
    prices: Mapping[str, float]
    least: float


Post = tuple[str, str, str]  # group, role and machine
