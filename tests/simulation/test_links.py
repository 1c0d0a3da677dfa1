"""NICs shared fairly: a textbook network, one-NIC and unlike machines, formulas against simulation over a grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import planner
from planner.pools.configuration import configure, make_layout
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.serving.links import slowdowns
from planner.serving.prefill import PrefillQueue
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.links import Links, Transfer, fair_rates


def test_max_min_rates_of_bertsekas_and_gallager() -> None:
    """Data Networks, section 6.5.2: sessions that cross links of capacity 1; one with a third link of its own."""
    # Four transfers out of port 0 (three into port 10, one into 11); one from 1 into 11 that may have no more than 0.2.
    of = [(0, 10), (0, 10), (0, 10), (0, 11), (1, 11)]
    most = [9.0, 9.0, 9.0, 9.0, 0.2]
    transfers = [Transfer(n, ends, 1.0, m, False) for n, (ends, m) in enumerate(zip(of, most, strict=True))]
    rates = fair_rates(transfers, {0: 1.0, 1: 1.0, 10: 0.6, 11: 1.0})
    # Port 10 is the scarcest: 0.2 each. What port 0 has left, 0.4, goes to its last; port 11 would give it 0.8.
    np.testing.assert_allclose(rates, [0.2, 0.2, 0.2, 0.4, 0.2])


def test_a_fast_sender_is_not_held_at_the_rate_of_a_slow_receiver() -> None:
    ends: dict[int, float] = {}
    links = Links([4.0, 1.0, 3.0], lambda at, number, _: ends.__setitem__(number, at))
    links.start(0, 0, 1, 10.0, 9.0, 0.0)  # into the slow NIC
    links.start(1, 0, 2, 10.0, 9.0, 0.0)  # into the fast one
    assert ends == {0: pytest.approx(10.0), 1: pytest.approx(10.0 / 3.0)}


def test_the_law_of_the_slow_down_has_its_mean() -> None:
    for rho in (0.0, 0.01, 0.3, 0.8, 0.95):
        shares, factors = zip(*slowdowns(rho), strict=True)
        assert sum(shares) == pytest.approx(1.0)
        assert np.dot(shares, factors) == pytest.approx(1.0 / (1.0 - rho))
        assert min(factors) >= 1.0


@pytest.mark.parametrize(
    ("pools", "rate", "busy"),
    [
        # 20 + 20 Lambda machines, 11 % busy: one NIC carried nearly everything.
        (["prefill=lambda-8x-h100:20:tp4", "decode=lambda-8x-h100:20:tp8"], 30.3, 0.15),
        # One 350 Gbit/s NIC a machine: 23 % of the link is used.
        (["prefill=hyperstack-8x-h100:1", "decode=hyperstack-8x-h100:1"], 5.0, 0.5),
        # A p5 that faces p4d machines sends to several at a time.
        (["prefill=aws-p5.48xlarge:2", "decode=aws-p4d.24xlarge:2"], 10.0, 0.6),
    ],
)
def test_machines_with_few_or_unlike_nics_keep_up(pools: list[str], rate: float, busy: float) -> None:
    cluster = [
        {
            "role": role,
            "machine": machine,
            "count": int(count),
            **({"tensor_parallel": int(layout[0][2:])} if layout else {}),
        }
        for role, rest in (pool.split("=") for pool in pools)
        for machine, count, *layout in (rest.split(":"),)
    ]
    scenario: dict[str, Any] = {"model": "qwen2.5-72b", "workload": "azure-code-2023", "rate": rate}
    found = planner.simulate(cluster, **scenario, n_requests=40_000, seeds=1)
    assert found.stable and found.meets_objectives
    assert found.pools[0].busy < busy
    rows = {row.metric: row for row in found.latencies}
    for metric, percentile, tolerance in (("tbt", "p50", 0.05), ("tbt", "p99", 0.15), ("e2e", "p50", 0.05)):
        assert abs(getattr(rows[metric], percentile).prediction_error) < tolerance


def _thin(problem: Problem, machine: str, achieved_bytes_per_s: float, tp: int):  # type: ignore[no-untyped-def]
    entry = problem.catalog.machine(machine)
    fabric = problem.catalog.fabric_of(entry)
    rate = achieved_bytes_per_s / fabric.efficiency * fabric.oversubscription / entry.network.n_nics
    network = entry.network.model_copy(update={"nic_bandwidth_bytes_per_s": rate})
    thin = entry.model_copy(update={"network": network})
    return configure(problem.catalog, thin, problem.serving, make_layout(thin, problem.serving, tp))


@pytest.mark.parametrize("overlapped", [True, False])
@pytest.mark.parametrize(
    ("n_prefill", "n_decode", "tp", "sender", "receiver", "faster", "use"),
    [
        (4, 4, 8, "hyperstack-8x-h100", "hyperstack-8x-h100", 1.0, 0.3),
        (4, 4, 4, "hyperstack-8x-h100", "hyperstack-8x-h100", 1.0, 0.6),
        (1, 1, 8, "hyperstack-8x-h100", "hyperstack-8x-h100", 1.0, 0.8),
        (8, 4, 8, "aws-p5.48xlarge", "aws-p4d.24xlarge", 4.0, 0.6),
        (8, 4, 8, "aws-p5.48xlarge", "aws-p4d.24xlarge", 4.0, 0.8),
    ],
)
def test_formulas_agree_with_simulation_on_busy_links(
    n_prefill: int, n_decode: int, tp: int, sender: str, receiver: str, faster: float, use: float, overlapped: bool
) -> None:
    problem = resolve(Scenario(model="qwen2.5-72b", workload="azure-conv-2023", rate=1.0))
    first = problem.catalog.machine(sender)
    base = configure(problem.catalog, first, problem.serving, make_layout(first, problem.serving, tp))
    lanes = np.array([float(n_prefill * base.layout.lanes_per_machine)])
    rate = 0.4 * float(PrefillQueue(base.lane, problem.need.traffic).stable_rate_per_s(lanes)[0])
    needed = rate * problem.need.traffic.sizes.mean_prompt_tokens * base.kv_bytes_per_token / use
    configurations = [
        _thin(problem, sender, faster * needed / n_prefill, tp), _thin(problem, receiver, needed / n_decode, tp)
    ]  # fmt: skip
    costs = problem.need.kv_transfer.model_copy(update={"overlapped": overlapped})
    need = replace(problem.need, rate_per_s=rate, kv_transfer=costs)
    roles = (("prefill", n_prefill), ("decode", n_decode))
    members = [Member(role, c, n, rate) for (role, n), c in zip(roles, configurations, strict=True)]
    model = ClusterModel(members, [Route(0, 1, rate)], need)
    assert model.network_utilisation(1) == pytest.approx(use, rel=1e-3)
    simulated = ClusterSimulation(members, [Route(0, 1, rate)], need, problem.sizes).simulate(
        n_requests=6000, seeds=[1]
    )
    assert simulated.stable
    for metric, percentile, tolerance in (
        ("tbt", 50.0, 0.1),
        ("tbt", 99.0, 0.25),
        ("e2e", 50.0, 0.1),
        ("e2e", 99.0, 0.1),
    ):
        predicted = model.percentile(metric, percentile, 1.0)
        assert predicted == pytest.approx(simulated.percentiles[metric, percentile].value, rel=tolerance), (
            metric, percentile,
        )  # fmt: skip
