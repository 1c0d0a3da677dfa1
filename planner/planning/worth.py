"""Which machines are worth pairing: pairs that no plan near the best can have are left out before curves are made.

Where a catalog has a hundred machines, the curves of their decode pools, one for each kind of sender, take a minute. A
bound that costs nothing leaves most of them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.pools.candidate import needs_end_to_end, stable_rate_of_one
from planner.pools.configuration import Configuration
from planner.pools.generation import SharedQueues
from planner.scenario.resolve import Problem
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue

NEAR = 1.06  # times the best plan of one mixed pool: beyond every near tie that may be chosen in the optimum's place
FEWEST_MACHINES = 8  # machines considered, from which on leaving pairs out saves more than it costs

Pairs = frozenset[tuple[str, str]]  # prefill and decode machine


@dataclass(frozen=True)
class _Offer:
    """A machine in a role at its best layout: what one takes of the objective, and that for each request a second."""

    configuration: Configuration
    of_one: float
    of_rate: float


def is_worth_asking(problem: Problem) -> bool:
    """Whether pairs may be left out: mixed pools are allowed too, and what is minimised is a sum over machines."""
    design = problem.design
    return (
        design.mixed
        and design.split
        and not design.machines
        and problem.scenario.objective in ("cost", "power", "machines")
        and not needs_end_to_end(problem.need)
        and len(problem.machines) >= FEWEST_MACHINES
    )


def worthwhile_pairs(problem: Problem, found: Sequence[Configuration], most: float) -> Pairs:
    r"""Pairs of machines that a plan of at most `most` may have.

    Parameters
    ----------
    problem : Problem
    found : sequence of Configuration
        Layouts of every machine.
    most : float
        Of the objective, in its unit.

    Notes
    -----
    A plan with a pool of p that sends to one of d has at least one machine of each, at a price of a = p + d. Whatever
    they carry costs at least u(p, d) = p / mu_p + d / mu_d a request and second, mu the stable rate of one machine,
    which no capacity exceeds; the rest costs at least the least such figure of all, u. So it costs at least

        a + max(0, lambda - a / u(p, d)) u

    and where that is more than `most`, no such plan is within it, however its pools are corrected.
    """
    each, need, shared = _each(problem), problem.need, SharedQueues()

    prefill = _best(found, each, lambda c: stable_rate_of_one(c, shared.of(PrefillQueue, c, need)))
    decode = _best(found, each, lambda c: stable_rate_of_one(c, shared.of(DecodeQueue, c, need)))
    mixed = _best(found, each, lambda c: stable_rate_of_one(c, shared.of(MixedQueue, c, need)))
    reach = [(p, d) for p in prefill.values() for d in decode.values() if p.configuration.can_send_to(d.configuration)]
    rates: Iterable[float] = [*(o.of_rate for o in mixed.values()), *(p.of_rate + d.of_rate for p, d in reach)]
    least = min(rates, default=0.0)
    kept = []
    for p, d in reach:
        of_two = p.of_one + d.of_one
        if of_two + max(0.0, need.rate_per_s - of_two / (p.of_rate + d.of_rate)) * least <= most:
            kept.append((p.configuration.machine.name, d.configuration.machine.name))
    return frozenset(kept)


def _each(problem: Problem) -> Callable[[Configuration], float | None]:
    objective = problem.scenario.objective

    def of_one(configuration: Configuration) -> float | None:
        if objective == "cost":
            return configuration.price.usd_per_hour if configuration.price else None
        return configuration.machine.rated_power_w if objective == "power" else 1.0

    return of_one


def _best(
    found: Sequence[Configuration],
    each: Callable[[Configuration], float | None],
    stable: Callable[[Configuration], float],
) -> Mapping[str, _Offer]:
    """Machine -> its layout that carries most."""
    best: dict[str, _Offer] = {}
    known: dict[tuple[int, int], float] = {}  # machines that differ by seller alone have one lane
    for configuration in found:
        lane = (id(configuration.lane), configuration.layout.lanes_per_machine)
        if lane not in known:
            known[lane] = stable(configuration)
        rate, of_one = known[lane], each(configuration)
        if rate <= 0 or of_one is None:
            continue
        offer = _Offer(configuration, of_one, of_one / rate)
        name = configuration.machine.name
        if name not in best or offer.of_rate < best[name].of_rate:
            best[name] = offer
    return best
