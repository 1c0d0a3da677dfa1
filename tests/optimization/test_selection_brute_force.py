"""The choice of pools against exhaustion: every vector of counts tried, capacities recomputed from the raw curves."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from planner.errors import ScenarioError
from planner.optimization.enumeration import Simple
from planner.optimization.reduction import KINK, pieces_of, possible, resources, unknown_counts
from planner.optimization.selection import Selection, best_simple, best_throughput, choose, enumerate_pairs
from planner.optimization.solver import cbc_path
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits

from .pools import Best, candidate, carried, exhaustion, faults, is_allowed, measured

MOST = 5  # machines of each candidate
OBJECTIVES = ["cost", "power", "machines", "throughput"]


def convex(draw: random.Random) -> list[float]:
    """Capacities of 1..MOST machines that grow faster than the machines."""
    if draw.random() < 0.5:
        most, loss = draw.uniform(1, 5), draw.uniform(0, 1.2)
        return [max(0.0, most * k - loss * k**0.5) for k in range(1, MOST + 1)]
    steps = sorted(draw.uniform(0.2, 4) for _ in range(MOST))
    return [sum(steps[: k + 1]) for k in range(MOST)]


def any_shape(draw: random.Random) -> list[float]:
    """Capacities that never fall, and have no other virtue."""
    return np.cumsum([draw.choice([0.0, 0.0, draw.uniform(0, 4), draw.uniform(2, 9)]) for _ in range(MOST)]).tolist()


def instance(seed: int, shape: object = convex, known: list[int] | None = None) -> tuple[list[Candidate], float]:
    """Three or four candidates that share machine types and sources, and a demand that they can carry together."""
    draw = random.Random(seed)
    prices = {m: (draw.randint(5, 40) / 4, draw.randint(20, 120) * 100) for m in ("a", "b", "c")}

    def make(role: str, number: int, sources: tuple[str, ...] = ()) -> Candidate:
        m = draw.choice("abc")
        price, power = prices[m]
        rates = shape(draw)  # type: ignore[operator]
        return candidate(
            f"{role}/{m}/{number}", rates, price=price, power=power, machine=m, sources=sources, known=known
        )

    kinds = draw.choice([("m", "m", "m"), ("p", "d"), ("p", "d", "m"), ("p", "p", "d"), ("p", "d", "d"),
                         ("p", "p", "d", "d"), ("p", "d", "d", "m"), ("m", "m", "p", "d")])  # fmt: skip
    found = [make("mixed", i) for i, k in enumerate(kinds) if k == "m"]
    prefill = [make("prefill", i) for i, k in enumerate(kinds) if k == "p"]
    found += prefill
    for i, kind in enumerate(kinds):
        if kind == "d":
            keys = [p.key for p in prefill]
            found.append(make("decode", i, tuple(sorted(draw.sample(keys, draw.randint(1, len(keys)))))))
    top = carried([(c, MOST) for c in found])
    return found, max(top * draw.uniform(0.1, 1.0), 1e-3)


def random_limits(seed: int, candidates: list[Candidate], rate_per_s: float, objective: str) -> Limits:
    """Limits near what the best plan without them uses, so that some bind and some make it impossible."""
    draw = random.Random(1000 + seed)
    limits = Limits(spares=draw.choice([0, 0, 0, 1, 2]))
    if draw.random() < 0.4:
        stock = {name: draw.randint(0, 6) for name in draw.sample(["a", "b", "c"], draw.randint(1, 2))}
        limits = replace(limits, max_machines=stock)
    if draw.random() < 0.3:
        limits = replace(limits, max_pools=draw.randint(1, 2))
    if objective == "throughput":
        limits = replace(limits, max_total_machines=draw.randint(2, 12))
    if draw.random() < 0.4:
        limits = replace(limits, max_power_w=float(draw.randint(5, 60) * 1000))
    if draw.random() < 0.4:
        limits = replace(limits, max_cost_usd_per_hour=draw.randint(10, 90) / 1.0)
    if draw.random() < 0.3:
        limits = replace(limits, max_rack_units=draw.randint(4, 60))
    return limits


def enumerated(candidates: list[Candidate], rate_per_s: float, objective: str, limits: Limits) -> Simple | None:
    """The best plan of one or two pools."""
    if objective == "throughput":
        found = [best_throughput(pair, limits) for pair in enumerate_pairs(candidates)]
        return max((s for s in found if s), key=lambda s: s.rate_per_s, default=None)
    simples = [best_simple(pair, rate_per_s, objective, limits) for pair in enumerate_pairs(candidates)]  # type: ignore[arg-type]
    return min((s for s in simples if s), key=lambda s: s.objective, default=None)


def solved(
    candidates: list[Candidate],
    rate_per_s: float,
    objective: str,
    limits: Limits,
    *,
    seeded: bool = True,
    solver: str = "highs",
) -> Selection | None:
    incumbent = enumerated(candidates, rate_per_s, objective, limits) if seeded else None
    return choose(
        candidates, rate_per_s, objective, limits, incumbent=incumbent, solver=solver, time_limit_s=30  # type: ignore[arg-type]
    )  # fmt: skip


def hold_against(
    answer: Selection | None,
    best: Best | None,
    candidates: list[Candidate],
    rate: float,
    objective: str,
    limits: Limits,
) -> None:
    """The answer is as good as the best of all, proven, and feasible by the raw curves."""
    if best is None:
        assert answer is None
        return
    assert answer is not None
    # The tie-break of throughput is worth two millionths of it for each pool.
    tolerance = 2e-5 if objective == "throughput" else 1e-9
    assert answer.objective == pytest.approx(best.value, rel=tolerance)
    assert (answer.status, answer.gap) == ("optimal", 0.0)
    assert answer.bound == answer.objective
    assert faults(answer, candidates, rate, objective, limits) == []


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_choice_against_exhaustion(objective: str) -> None:
    feasible = 0
    for seed in range(70):
        candidates, rate = instance(seed)
        limits = random_limits(seed, candidates, rate, objective)
        best = exhaustion(candidates, rate, objective, limits, MOST)
        feasible += best is not None
        for seeded in (True, False):
            answer = solved(candidates, rate, objective, limits, seeded=seeded)
            hold_against(answer, best, candidates, rate, objective, limits)
    assert 25 <= feasible <= 68  # the instances are neither all possible nor all impossible by accident


@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_choice_of_curves_of_any_shape_known_everywhere_against_exhaustion(objective: str) -> None:
    for seed in range(1000, 1030):
        candidates, rate = instance(seed, any_shape)
        limits = random_limits(seed, candidates, rate, objective)
        best = exhaustion(candidates, rate, objective, limits, MOST)
        hold_against(solved(candidates, rate, objective, limits), best, candidates, rate, objective, limits)


@pytest.mark.parametrize("objective", ["cost", "machines", "throughput"])
def test_sparse_curves_lead_to_the_same_optimum_as_full_ones(objective: str) -> None:
    """Counts between the known ones are drawn on straight lines, and refined until the answer is exact."""
    refined = 0
    for seed in range(2000, 2025):
        full, rate = instance(seed)
        sparse, _ = instance(seed, known=[1, MOST])
        limits = random_limits(seed, full, rate, objective)
        best = exhaustion(full, rate, objective, limits, MOST)
        for seeded in (True, False):
            answer = solved(sparse, rate, objective, limits, seeded=seeded)
            hold_against(answer, best, sparse, rate, objective, limits)
            refined += answer is not None and answer.rounds > 1
    assert refined  # some needed more than one round


def stepped(seed: int) -> tuple[list[Candidate], float]:
    """An instance whose curves are straight but for steps of less than KINK of a machine above the line."""
    candidates, rate = instance(seed)
    draw = random.Random(seed)
    found = []
    for c in candidates:
        each = draw.uniform(1, 5)
        above = [0.0, *(draw.uniform(0, 0.95 * KINK) for _ in range(MOST - 2)), 0.0]
        table = np.maximum.accumulate([each * (n + extra) for n, extra in enumerate(above, 1)]).tolist()
        price, power = c.configuration.price.usd_per_hour, c.configuration.machine.rated_power_w  # type: ignore[union-attr]
        found.append(candidate(c.key, table, price=price, power=power, sources=c.sources, known=[1, MOST]))
    return found, min(rate, carried([(c, MOST) for c in found]))


@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_curves_with_steps_do_not_fool_the_lines(objective: str) -> None:
    """Where a curve rises above its lines, that is found out, and the program solved again."""
    rounds = []
    for seed in range(3000, 3030):
        candidates, rate = stepped(seed)
        limits = random_limits(seed, candidates, rate, objective)
        best = exhaustion(candidates, rate, objective, limits, MOST)
        answer = solved(candidates, rate, objective, limits, seeded=bool(seed % 2))
        hold_against(answer, best, candidates, rate, objective, limits)
        rounds.append(answer.rounds if answer else 0)
    assert max(rounds) > 1


@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_no_count_of_a_good_plan_is_dropped(objective: str) -> None:
    """Every count in any plan as good as a given one is known, or is asked for."""
    dropped = 0
    for seed in range(7000, 7020):
        candidates, rate = stepped(seed)
        limits = random_limits(seed, candidates, rate, objective)
        best = exhaustion(candidates, rate, objective, limits, MOST)
        if best is None:
            continue
        # A plan a little worse than the best, so that there are several as good as it.
        value = best.value * (0.97 if objective == "throughput" else 1.03)
        demand = value if objective == "throughput" else rate
        supplies = resources(candidates, objective, limits, value)  # type: ignore[arg-type]
        asked = unknown_counts(candidates, limits, supplies, demand)
        pieces = {c.key: pieces_of(c.with_counts(range(1, MOST + 1)), limits) for c in candidates}
        kept = possible(candidates, pieces, supplies, demand, limits.spares)
        dropped += sum(MOST - kept[c.key].first.size for c in candidates)
        for counts in itertools.product(range(MOST + 1), repeat=len(candidates)):
            pools = [(c, n) for c, n in zip(candidates, counts, strict=True) if n]
            good = pools and is_allowed(pools, limits) and carried(pools) >= demand
            if good and (objective == "throughput" or measured(pools, objective, limits) <= value):
                for c, n in useful(pools, demand):
                    assert n in (1, MOST) or n in asked.get(c.key, []), (seed, c.key, n)
                    assert n in kept[c.key].first, (seed, c.key, n)
    assert dropped > 40


def useful(pools: list[tuple[Candidate, int]], demand: float) -> list[tuple[Candidate, int]]:
    """The pools, if each of them is needed to carry the demand; else none, for a plan without idle pools is better."""
    idle = any(carried([p for p in pools if p is not pool]) >= demand for pool in pools)
    return [] if idle else pools


def test_dropping_counts_by_their_prices_changes_no_optimum() -> None:
    """With an incumbent, counts of high reduced cost are dropped; without one, none are."""
    for seed in range(4000, 4025):
        candidates, rate = instance(seed)
        with_it = solved(candidates, rate, "cost", Limits())
        without = solved(candidates, rate, "cost", Limits(), seeded=False)
        assert (with_it is None) == (without is None)
        if with_it is not None and without is not None:
            assert with_it.objective == pytest.approx(without.objective, rel=1e-9)


def _has_cbc() -> bool:
    try:
        cbc_path()
    except ScenarioError:
        return False
    return True


@pytest.mark.skipif(not _has_cbc(), reason="CBC is not installed")
@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_cbc_agrees(objective: str) -> None:
    for seed in range(5000, 5010):
        candidates, rate = instance(seed, known=[1, 3, MOST])
        limits = random_limits(seed, candidates, rate, objective)
        first = solved(candidates, rate, objective, limits)
        second = solved(candidates, rate, objective, limits, solver="cbc")
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert second.solver.startswith("CBC")
            assert second.objective == pytest.approx(first.objective, rel=2e-5)


def test_enumeration_against_exhaustion_of_each_pair() -> None:
    for seed in range(6000, 6025):
        candidates, rate = instance(seed, known=[1, 3, MOST])
        for objective in ("cost", "throughput"):
            limits = random_limits(seed, candidates, rate, objective)
            for pair in enumerate_pairs(candidates):
                alone = [c for c in pair if c is not None]
                # A pair is enumerated as a pair: no plan with one of the two left out exists.
                best = exhaustion(alone, rate, objective, limits, MOST)
                if objective == "throughput":
                    found = best_throughput(pair, limits)
                    value = found.rate_per_s if found else None
                else:
                    found = best_simple(pair, rate, "cost", limits)
                    value = found.objective if found else None
                assert value == (pytest.approx(best.value, rel=1e-9) if best else None), (seed, objective)
