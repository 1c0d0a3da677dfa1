"""Objectives that are about some of a pool's requests: the others have infinite limits."""

from __future__ import annotations

import numpy as np
import pytest

from planner.pools.configuration import Configuration
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import Problem, configurations, resolve
from planner.scenario.scenario_file import load_scenario


@pytest.fixture(scope="module")
def problem() -> Problem:
    return resolve(load_scenario({"slo": ["ttft=1s", "tbt=200ms", "e2e.p90=60s"], "verify": False}))


@pytest.fixture(scope="module")
def configuration(problem: Problem) -> Configuration:
    return next(c for c in configurations(problem)[0] if c.label == "dgx-h100 2 x TP4")


@pytest.mark.parametrize("split", [False, True], ids=["mixed", "split"])
@pytest.mark.parametrize("load", [60.0, 70.0])
def test_late_shares_of_two_kinds_of_requests_add_up(
    problem: Problem, configuration: Configuration, split: bool, load: float
) -> None:
    if split:
        members = [Member("prefill", configuration, 3, load), Member("decode", configuration, 3, load)]
        routes = [Route(0, 1, load)]
    else:
        members, routes = [Member("mixed", configuration, 5, load)], [Route(0, None, load)]
    model = ClusterModel(members, routes, problem.need)
    first = np.random.default_rng(0).random(problem.need.traffic.weight.size) < 0.4
    seen = 0.0
    for limit in problem.need.limits:
        metric, tight = limit.objective.metric, 0.3 * limit.limit_s
        whole = model.late(metric, tight)
        parts = [model.late(metric, np.where(mine, tight, np.inf)) for mine in (first, ~first)]
        assert sum(parts) == pytest.approx(whole, rel=1e-9, abs=1e-12)
        assert all(part <= whole for part in parts)
        seen += whole
    assert seen > 0.01  # the limits are tight enough to be missed


def test_the_percentile_of_some_requests_is_that_of_their_share(problem: Problem, configuration: Configuration) -> None:
    members, routes = [Member("mixed", configuration, 5, 70.0)], [Route(0, None, 70.0)]
    model = ClusterModel(members, routes, problem.need)
    long = problem.need.traffic.prompt_tokens > 2000
    share = float(problem.need.traffic.weight[long].sum())
    of_long = model.percentile("ttft", 90.0, np.where(long, 1.0, np.inf), share)
    of_all = model.percentile("ttft", 90.0, 1.0)
    assert of_long is not None and of_all is not None and of_long > of_all
    late = model.late("ttft", np.where(long, of_long, np.inf))
    assert late == pytest.approx(0.1 * share, rel=0.05)
