"""Is there a better cluster than the one called optimal? Every one is tried, whatever the formulas say of it.

    python benchmarks/cheaper_hunt.py [N] [--seed S] [--pools 3]        default 20 scenarios, clusters of up to 3 pools

Scenarios are those of `false_certificates.py`. Against each certified plan stand all clusters of one to three pools,
over all layouts that hold the longest request, whose objective is strictly better: of these the largest, for a machine
more never hurts. Clusters that all pools together cannot keep up with (15 % beyond what keeps them busy all the time)
are left out; the others are simulated, those that are not far off as long as a verdict takes, and those that pass ten
times as long. Printed is every better cluster that holds, with what it saves; apart from these such as only the
highest utilisation of prefill work (--max-utilisation) forbids. Exit code 1 if one of the first kind is found.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from false_certificates import scenarios

from planner.errors import PlannerError
from planner.optimization.enumeration import within
from planner.planning.certify import certified
from planner.planning.search import prepare_search
from planner.planning.trials import Testbed
from planner.pools.candidate import Candidate, stable_rate_of_one
from planner.pools.configuration import Configuration
from planner.pools.limits import unit_cost
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import Problem, configurations, resolve
from planner.scenario.scenario_file import load_scenario
from planner.serving.capacity import CapacityCurve
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.simulation.cluster import ClusterSimulation

BUSY = 1.15  # of what keeps a cluster busy all the time by the formulas; beyond, it cannot keep up
FAR = 4.0  # times as many late as may be: not worth a longer run
KINDS = (("mixed",), ("prefill", "decode"), ("mixed", "mixed"), ("prefill", "decode", "mixed"))
KINDS_OF_THREE = (("prefill", "prefill", "decode"), ("prefill", "decode", "decode"))
QUEUES = {"prefill": PrefillQueue, "decode": DecodeQueue, "mixed": MixedQueue}


@dataclass(frozen=True)
class Kind:
    """A layout in a role: what one machine of it carries at most [requests/s], and what it adds to the objective."""

    role: str
    configuration: Configuration
    most_per_s: float
    cost: float


def kinds_of(problem: Problem) -> dict[str, list[Kind]]:
    """Every layout of every machine in every role that holds the longest request."""
    found: dict[str, list[Kind]] = {role: [] for role in QUEUES}
    allowed = {"mixed": problem.design.mixed, "prefill": problem.design.split, "decode": problem.design.split}
    for c in configurations(problem)[0]:
        for role, queue in QUEUES.items():
            if allowed[role] and problem.need.is_held_by(c, role):
                most = stable_rate_of_one(c, queue(c.lane, problem.need.traffic))
                found[role].append(Kind(role, c, most, _cost(problem, c)))
    return found


def _cost(problem: Problem, c: Configuration) -> float:
    nothing = CapacityCurve(*map(_one, (1, 0.0)))
    return unit_cost(Candidate("", "mixed", c, (), nothing, lambda _: nothing), problem.scenario.objective)


def _one(value: float):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.array([value])


def better(problem: Problem, value: float, most_pools: int) -> Iterator[list[tuple[Kind, int]]]:
    """The largest clusters whose objective is better than `value`, that could keep up."""
    kinds, rate = kinds_of(problem), problem.need.rate_per_s
    below = value * (1.0 - 1e-9)
    for roles in (*KINDS, *KINDS_OF_THREE):
        if len(roles) > most_pools:
            continue
        for chosen in itertools.product(*(kinds[role] for role in roles)):
            if any(a == b for a, b in itertools.combinations(chosen, 2)):
                continue
            for counts in _largest([k.cost for k in chosen], below):
                pools = list(zip(chosen, counts, strict=True))
                carried = {r: sum(n * k.most_per_s for k, n in pools if k.role == r) for r in QUEUES}
                if min(carried["prefill"], carried["decode"]) + carried["mixed"] > rate / BUSY and _reachable(chosen):
                    yield pools


def _largest(costs: Sequence[float], below: float) -> Iterator[tuple[int, ...]]:
    """Counts, each at least 1, whose cost is below a value, and would not be with one machine more of the last."""
    *first, last = costs
    ranges = [range(1, max(math.floor(below / c), 0) + 1) for c in first]
    for counts in itertools.product(*ranges):
        left = below - sum(n * c for n, c in zip(counts, first, strict=True))
        n = math.floor(left / last)
        if n >= 1:
            yield (*counts, n)


def _reachable(chosen: Sequence[Kind]) -> bool:
    senders = [k.configuration for k in chosen if k.role == "prefill"]
    receivers = [k.configuration for k in chosen if k.role == "decode"]
    return all(a.can_send_to(b) for a in senders for b in receivers)


def cluster(problem: Problem, pools: Sequence[tuple[Kind, int]]) -> tuple[list[Member], list[Route]]:
    """Members and routes, the load shared so that all are equally busy."""
    rate = problem.need.rate_per_s
    most = [n * k.most_per_s for k, n in pools]
    of = {role: [i for i, (k, _) in enumerate(pools) if k.role == role] for role in QUEUES}
    split = min(sum(most[i] for i in of["prefill"]), sum(most[i] for i in of["decode"]))
    mixed = sum(most[i] for i in of["mixed"])
    routes = [Route(i, None, rate * most[i] / (split + mixed)) for i in of["mixed"]]
    for p in of["prefill"]:
        share = rate * split / (split + mixed) * most[p] / sum(most[i] for i in of["prefill"])
        routes += [Route(p, d, share * most[d] / sum(most[i] for i in of["decode"])) for d in of["decode"]]
    rates = [sum(r.rate_per_s for r in routes if i in (r.first, r.second)) for i in range(len(pools))]
    members = [Member(k.role, k.configuration, n, x) for (k, n), x in zip(pools, rates, strict=True)]
    return members, routes


def holds(problem: Problem, testbed: Testbed, members: list[Member], routes: list[Route]) -> bool:
    """Whether a cluster meets every objective, in the end by a run ten times as long as a verdict takes."""
    limits = problem.need.limits
    brief = testbed.simulate(members, routes, 1.0, 5000, n_seeds=1)
    if not brief.stable or any(x.value > FAR * y.allowed for x, y in zip(brief.late, limits, strict=True)):
        return False
    if not all(testbed.verdict(members, routes).met):
        return False
    simulation = ClusterSimulation(members, routes, problem.need, problem.sizes, problem.reference)
    n = min(10 * testbed.n_requests, 2_000_000)
    long = simulation.simulate(n_requests=n, seeds=(1001, 1002, 1003), metrics=())
    return long.stable and all(x.value <= y.allowed for x, y in zip(long.late, limits, strict=True))


def too_busy(problem: Problem, members: list[Member], routes: list[Route]) -> bool:
    """Whether prompts fill more of a pool's time than is allowed."""
    model = ClusterModel(members, routes, problem.need)
    shares = [
        {"prefill": model.utilisation, "mixed": model.prompt_share}.get(m.role, lambda _: 0.0)(i)
        for i, m in enumerate(members)
    ]
    return max(shares) > problem.need.most_busy * (1.0 + 1e-6)


def main() -> int:
    """Hunt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pools", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--most", type=int, default=400, help="clusters simulated of a scenario")
    options = parser.parse_args()
    n = found = forbidden = tried = 0
    started = time.process_time()
    for fields in scenarios(options.seed):
        if n >= options.scenarios:
            break
        try:
            problem = resolve(load_scenario(fields))
            prepare_search(problem)
            solution = certified(problem)
        except PlannerError:
            continue
        if solution.certificate is None or solution.certificate.status != "confirmed":
            print(f"not confirmed: {fields}", file=sys.stderr)
            continue
        n += 1
        value = solution.selection.objective
        testbed = Testbed(problem.need, problem.sizes, problem.reference, (1, 2, 3))
        simulated = 0
        for pools in better(problem, value, options.pools):
            if simulated >= options.most:
                print(f"more than {options.most} clusters, the rest not tried: {fields}", file=sys.stderr)
                break
            members, routes = cluster(problem, pools)
            candidates = [(replace_key(k, i), c) for i, (k, c) in enumerate(pools)]
            if not within(candidates, problem.limits):
                continue
            simulated += 1
            if holds(problem, testbed, members, routes):
                own = sum(k.cost * c for k, c in pools)
                text = " + ".join(f"{c} x {k.configuration.label} {k.role}" for k, c in pools)
                if too_busy(problem, members, routes):
                    forbidden += 1
                    print(f"only busier than allowed: {own:.6g} against {value:.6g}: {text}; {fields}")
                else:
                    found += 1
                    print(f"BETTER: {own:.6g} against {value:.6g} ({own / value - 1:.1%}): {text}; {fields}")
                break  # one is enough
        tried += simulated
    print(
        f"{n} scenarios, {tried} better clusters simulated: {found} hold, {forbidden} more but for the highest "
        f"utilisation; {time.process_time() - started:.0f} s of CPU"
    )
    return int(found > 0)


def replace_key(kind: Kind, i: int) -> Candidate:
    """A candidate as budgets and stock see it."""
    nothing = CapacityCurve(_one(1), _one(0.0))
    made = Candidate(str(i), "mixed", kind.configuration, (), nothing, lambda _: nothing)
    return replace(made, role=kind.role)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
