"""Which requests may be served by common pools, and what such pools must carry.

A *part* is a workload, or its requests with prompts of one size bucket. A *group* is a set of parts that share pools:
a problem of its own, whose traffic is the union of its parts, and whose pools must meet every part's objectives for
that part's own requests. Which groups are formed is part of the answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import ScenarioError
from planner.latency.sequences import residency_of
from planner.pools.candidate import Requirement
from planner.pools.configuration import Serving
from planner.portfolio.fleet import Fleet
from planner.scenario.resolve import SIZE_POINTS, Problem
from planner.serving.requests import Limit, Traffic, reference_latencies
from planner.workload.sizes import RequestSizes

MOST_GROUPS = 64
_LEAST_POINTS = 96  # points of the size distribution that a part keeps, however many share its pools


@dataclass(frozen=True, eq=False)
class Part:
    """A workload, or those of its requests with prompts in one bucket.

    Attributes
    ----------
    name : str
        `chat`, or `chat/<=1024`.
    workload : str
    problem : Problem
        The workload, resolved by itself.
    sizes : RequestSizes
        Of the part.
    share : float
        Part of the workload's requests.
    has_objectives : bool
        Whether latency objectives apply.
    """

    name: str
    workload: str
    problem: Problem
    sizes: RequestSizes
    share: float
    has_objectives: bool


@dataclass(frozen=True, eq=False)
class Group:
    """Parts that may share pools.

    Attributes
    ----------
    name : str
        Names of the parts, joined by ` + `; a whole workload goes by its own name.
    parts : tuple of Part
    """

    name: str
    parts: tuple[Part, ...]

    @property
    def spares(self) -> int:
        """Machines of each pool that may fail: the most that one of the parts asks for."""
        return max(p.problem.limits.spares for p in self.parts)


def parts_of(fleet: Fleet, problems: Mapping[str, Problem]) -> list[Part]:
    """Every workload, cut at its size buckets.

    Raises
    ------
    ScenarioError
        A bucket that no request falls into.
    """
    parts = []
    for name, problem in problems.items():
        cuts = fleet.workloads[name].size_buckets
        limited = fleet.has_objectives(name)
        prompt = problem.sizes.prompt_tokens
        edges = [0.0, *map(float, cuts), np.inf]
        for low, high in itertools.pairwise(edges):
            inside = (prompt > low) & (prompt <= high)
            if not inside.any():
                sizes_text = f"more than {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"
                raise ScenarioError(
                    f"no request of {name} has a prompt of {sizes_text} tokens",
                    where=f"workloads.{name}.size_buckets",
                    value=list(cuts),
                    rule=f"its prompts have {prompt.min():,.0f} to {prompt.max():,.0f} tokens",
                    fix="move the cuts between these",
                )  # fmt: skip
            share = float(problem.sizes.weight[inside].sum())
            sizes = problem.sizes if not cuts else _some(problem.sizes, inside)
            label = name if not cuts else f"{name}/{_bucket_name(low, high)}"
            parts.append(Part(label, name, problem, sizes, share, limited))
    return parts


def _bucket_name(low: float, high: float) -> str:
    if np.isinf(high):
        return f">{low:g}"
    return f"<={high:g}" if low == 0 else f"{low:g}-{high:g}"


def _some(sizes: RequestSizes, inside: np.ndarray) -> RequestSizes:
    weight = sizes.weight[inside]
    return RequestSizes(sizes.prompt_tokens[inside], sizes.output_tokens[inside], weight / weight.sum(), sizes.name)


def candidate_groups(fleet: Fleet, parts: Sequence[Part]) -> list[Group]:
    """Every group that may be formed.

    Notes
    -----
    Buckets of one workload may be served together or apart, in runs of neighbouring ones. Whole workloads may share
    where `sharing` allows it and they agree in model, software, machines and design; batch work has pools of its own.

    Raises
    ------
    ScenarioError
        Workloads that are told to share and cannot; more combinations than can be tried.
    """
    by_workload: dict[str, list[Part]] = {}
    for part in parts:
        by_workload.setdefault(part.workload, []).append(part)
    groups = [
        Group(_run_name(run, own), tuple(run))
        for own in by_workload.values()
        for length in range(1, len(own) + 1)
        for start in range(len(own) - length + 1)
        for run in (own[start : start + length],)
    ]
    alone = {name: tuple(own) for name, own in by_workload.items()}
    for names in _sets_that_share(fleet, alone):
        groups.append(Group(" + ".join(names), tuple(p for name in names for p in alone[name])))
    if len(groups) > MOST_GROUPS:
        raise ScenarioError(
            f"{len(groups)} ways for workloads to share pools are more than can be tried",
            where="sharing",
            rule=f"at most {MOST_GROUPS}",
            fix="name the groups, such as sharing: [[chat, code]], or use fewer size_buckets",
        )
    if fleet.sharing == "shared" or not isinstance(fleet.sharing, str):
        # Sharing is told, not offered: whole workloads that are in such a group are in no other.
        told = {name for g in groups if _n_workloads(g) > 1 for name in (p.workload for p in g.parts)}
        groups = [g for g in groups if _n_workloads(g) > 1 or g.parts[0].workload not in told]
    return groups


def _n_workloads(group: Group) -> int:
    return len({p.workload for p in group.parts})


def _run_name(run: Sequence[Part], own: Sequence[Part]) -> str:
    return run[0].workload if len(run) == len(own) else " + ".join(p.name for p in run)


def _sets_that_share(fleet: Fleet, alone: Mapping[str, tuple[Part, ...]]) -> list[tuple[str, ...]]:
    """Sets of two or more workloads that may be one group."""
    kinds: dict[object, list[str]] = {}
    for name, own in alone.items():
        if fleet.workloads[name].batch is None:
            kinds.setdefault(_kind(own[0].problem), []).append(name)
    if fleet.sharing == "separate":
        return []
    if fleet.sharing == "shared":
        return [tuple(names) for names in kinds.values() if len(names) > 1]
    if fleet.sharing == "auto":
        if max((len(names) for names in kinds.values()), default=0) > 10:
            raise ScenarioError(
                "more than ten workloads of one model are too many to try every way of sharing",
                where="sharing",
                fix="use sharing: separate or shared, or name the groups, such as [[chat, code], [search, agents]]",
            )
        return [
            some
            for names in kinds.values()
            for n in range(2, len(names) + 1)
            for some in itertools.combinations(names, n)
        ]
    found = []
    for names in fleet.sharing:
        if len(names) < 2:
            continue
        for name in names:
            if fleet.workloads[name].batch is not None:
                raise ScenarioError(
                    f"{name} is batch work and shares no pools",
                    where="sharing",
                    rule="batch work uses machines of the fleet that others leave idle, in pools of its own",
                    fix=f"leave {name} out of the group",
                )
        first, *others = names
        for other in others:
            if _kind(alone[first][0].problem) != _kind(alone[other][0].problem):
                raise ScenarioError(
                    f"{first} and {other} cannot share pools",
                    where="sharing",
                    rule="workloads that share agree in model, precision, runtime, profile, cached prefixes, machines "
                    "and design",
                    fix="put them into groups of their own",
                )
        found.append(tuple(names))
    return found


def _kind(problem: Problem) -> tuple[object, ...]:
    """What workloads must agree in to share pools."""
    s = problem.scenario
    return (
        s.model, s.runtime, s.precision, s.kv_precision, s.profile, s.network, s.oversubscription,
        problem.serving.shortcuts, frozenset(problem.serving.prefix_shares.items()),
        tuple(m.name for m in problem.machines), problem.design, s.reference_machine,
    )  # fmt: skip


def shares_of(group: Group, rates_per_s: Mapping[str, float]) -> tuple[float, ...]:
    """Part of the group's requests that each of its parts has."""
    rates = [rates_per_s[p.workload] * p.share for p in group.parts]
    return tuple(rate / sum(rates) for rate in rates)


def problem_of(group: Group, rates_per_s: Mapping[str, float]) -> tuple[Problem, list[Part]]:
    """The group as one problem, and whose objective each of its limits is.

    Parameters
    ----------
    group : Group
    rates_per_s : mapping of str to float
        Requests of each workload [requests/s]; only their ratio matters for what pools can carry.

    Notes
    -----
    Arrivals of independent streams together vary by the mean of their c^2, weighted by rate; those of a bucket, which
    get a random share p of a stream, by 1 + p (c^2 - 1) (Whitt, The Queueing Network Analyzer, Bell System Technical
    Journal 62(9), 1983, equations 29 and 36).
    """
    first = group.parts[0].problem
    total = sum(rates_per_s[p.workload] * p.share for p in group.parts)
    if _n_workloads(group) == 1 and abs(sum(p.share for p in group.parts) - 1.0) < 1e-9:
        whole = replace(group.parts[0], name=group.parts[0].workload, sizes=first.sizes, share=1.0)
        limits = first.need.limits if whole.has_objectives else ()
        return replace(first, need=replace(first.need, rate_per_s=total, limits=limits)), [whole] * len(limits)
    n = max(SIZE_POINTS // len(group.parts), _LEAST_POINTS)
    points = [p.sizes.compressed(n) for p in group.parts]
    shares = shares_of(group, rates_per_s)
    weight = np.concatenate([share * s.weight for s, share in zip(points, shares, strict=True)])
    sizes = RequestSizes(
        np.concatenate([s.prompt_tokens for s in points]),
        np.concatenate([s.output_tokens for s in points]),
        weight / weight.sum(),
        group.name,
    )
    cv2 = sum(
        share * (1.0 + p.share * (p.problem.need.traffic.arrival_cv2 - 1.0))
        for p, share in zip(group.parts, shares, strict=True)
    )
    traffic = Traffic(sizes, cv2)
    owner = np.repeat(np.arange(len(points)), [s.n_points for s in points])
    owned = _limits_of(group, traffic, owner)
    need = Requirement(
        rate_per_s=total,
        traffic=traffic,
        limits=tuple(limit for _, limit in owned),
        most_busy=min(p.problem.need.most_busy for p in group.parts),
        kv_transfer=first.need.kv_transfer,
        n_layers=first.need.n_layers,
        longest_prompt_tokens=max(float(p.sizes.prompt_tokens.max()) for p in group.parts),
        longest_request_tokens=max(float((p.sizes.prompt_tokens + p.sizes.output_tokens).max()) for p in group.parts),
        all_sizes=sizes,
    )
    problem = replace(first, need=need, serving=_serving_of(first, traffic), sizes=sizes)
    return problem, [part for part, _ in owned]


def _serving_of(problem: Problem, traffic: Traffic) -> Serving:
    residency = residency_of(problem.llm, traffic.prompt_tokens + 1.0, traffic.decode_steps, traffic.weight)
    return replace(problem.serving, residency=residency)


def _limits_of(group: Group, traffic: Traffic, owner: np.ndarray) -> list[tuple[Part, Limit]]:
    """Each part's objectives, on its own requests: infinite for all others, the share allowed scaled to match."""
    found = []
    for i, part in enumerate(group.parts):
        if not part.has_objectives:
            continue
        reference = part.problem.reference
        alone = reference_latencies(reference, traffic) if reference else {}
        for objective in part.problem.scenario.slo:
            weight = traffic.weight * (traffic.decode_steps > 0) if objective.metric == "tbt" else traffic.weight
            mine = float(weight[owner == i].sum())
            if mine <= 0:
                continue  # answers of one token have no time between tokens
            unit = alone[objective.metric] if objective.slowdown is not None else np.ones_like(weight)
            found.append((part, Limit(objective, np.where(owner == i, unit, np.inf), mine / float(weight.sum()))))
    return found
