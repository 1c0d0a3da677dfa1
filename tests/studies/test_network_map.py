"""The network map and the refusal of slow links: break-even against both designs beside it, traffic by hand."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import planner
from planner.errors import InfeasibleError, ScenarioError
from planner.export.tables.network import network_table
from planner.planning.links import check_links, links
from planner.planning.reuse import candidates_of
from planner.planning.search import Search, solve_problem, solve_search
from planner.scenario.changes import nic_rate, setting
from planner.scenario.resolve import changed, configurations, resolve
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario
from planner.studies.network_map import NetworkMap, pays

BASE: dict[str, Any] = {"slo": ["ttft=500ms", "tbt=60ms"], "rate": "300/s"}
LLAMA_70B_BYTES_PER_TOKEN = 327_680  # 80 layers x 2 x 8 KV heads x 128 x 2 bytes


@pytest.fixture(scope="module")
def found() -> NetworkMap:
    return planner.network_map(**BASE, x="network=4Gbit/s..400Gbit/s:3")


def links_of(scenario: Scenario) -> None:
    problem = resolve(scenario)
    check_links(problem, configurations(problem)[0])


def best(design: str, nic_bytes_per_s: float) -> float:
    problem = changed(resolve(load_scenario(BASE, design=design)), nic_rate(nic_bytes_per_s))
    problem = changed(problem, setting(max_pools=2 if problem.design.split else 1))
    laid_out, rejected = configurations(problem)
    candidates = candidates_of(problem, laid_out, problem.need.rate_per_s)
    # Without the road's refusal of thin links, which the map is there to show.
    return solve_search(Search([(problem, candidates)], rejected, {})).selection.objective


def test_splitting_pays_just_above_the_break_even_and_not_just_below(found: NetworkMap) -> None:
    at = found.break_even["overlapped"]
    assert at.verdict == "above" and at.pays_at_bytes_per_s and at.not_at_bytes_per_s
    assert 1 < at.pays_at_bytes_per_s / at.not_at_bytes_per_s <= 1.005 + 1e-9
    mixed = best("baseline", at.pays_at_bytes_per_s)
    assert found.mixed is not None and found.mixed.value == pytest.approx(mixed)
    assert best("splitwise", at.pays_at_bytes_per_s) < mixed
    assert best("splitwise", at.not_at_bytes_per_s) >= mixed


def test_points_are_what_optimize_finds_and_fall_with_bandwidth(found: NetworkMap) -> None:
    for point in (found.points[0], found.points[-1]):
        assert point.overlapped is not None
        assert point.overlapped.value == pytest.approx(best("splitwise", point.nic_bandwidth_bytes_per_s))
    values = [p.overlapped.value for p in found.points if p.overlapped is not None]
    assert values == sorted(values, reverse=True)
    for p in found.points:
        assert p.serialised is None or (p.overlapped is not None and p.overlapped.value <= p.serialised.value)


def test_a_tenth_of_the_bandwidth_is_ten_times_oversubscribed(found: NetworkMap) -> None:
    problem = resolve(load_scenario(BASE, design="splitwise", oversubscription=10.0, max_pools=2))
    tenth = found.tenth["overlapped"]
    assert tenth is not None and tenth.value == pytest.approx(solve_problem(problem).selection.objective)
    own = found.own["overlapped"]
    assert own is not None and own.value <= tenth.value
    assert pays(own, found.mixed)


def test_traffic_and_links_by_hand(found: NetworkMap) -> None:
    sizes = resolve(load_scenario(BASE)).sizes
    assert found.kv_bytes_per_request == pytest.approx(sizes.mean_prompt_tokens * LLAMA_70B_BYTES_PER_TOKEN)
    by_name = {link.fabric: link for link in found.links}
    ethernet = by_name["ethernet-10g"]
    assert ethernet.achieved_bytes_per_s == pytest.approx(10e9 / 8 * 0.94)
    costs = planner.Catalog().runtime("vllm-2026").kv_transfer
    # The machines have eight NICs, and one replica that fills a machine uses all of them.
    wire = found.kv_bytes_per_request / (8 * ethernet.achieved_bytes_per_s)
    assert ethernet.serialised_s == pytest.approx(costs.setup_s + 30e-6 + wire, rel=1e-3)
    assert all(link.overlapped_s <= link.serialised_s for link in found.links)
    assert [link.fabric for link in found.links] == links(resolve(load_scenario(BASE)))


def test_verdicts_never_and_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.studies.network_map.links", lambda _: [])
    never = planner.network_map(slo="ttft=1s", x="network=1Gbit/s..100Gbit/s:2")
    assert never.break_even["overlapped"].verdict == "never"
    assert "never pays" in network_table(never, datetime.date(2026, 11, 26))
    always = planner.network_map(**BASE, x="network=50Gbit/s..100Gbit/s:2")
    assert always.break_even["overlapped"].verdict == "always"
    assert "slowest link of this map already" in network_table(always, datetime.date(2026, 11, 26))


def test_text_records_and_picture(found: NetworkMap) -> None:
    text = network_table(found, datetime.date(2026, 11, 26))
    assert max(map(len, text.splitlines())) <= 108
    for link in found.links:
        assert link.fabric in text
    records = found.to_records()
    assert len(records) == 2 * len(found.points)
    assert NetworkMap.model_validate_json(found.model_dump_json()) == found
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    from planner.export.pictures.network import network_picture

    svg = network_picture(found, ".svg")
    assert svg == network_picture(found, ".svg") and b"<svg" in svg


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"x": "network=100Gbit/s..1Gbit/s"}, "backwards"),
        ({"x": "network=0Gbit/s..1Gbit/s"}, "more than zero"),
        ({"x": "ttft=1s..2s"}, "one axis"),
        ({"design": "baseline"}, "does not split"),
        ({"objective": "throughput", "max_cost": "500 USD/h"}, "throughput"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_map_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planner.network_map(**{"slo": "ttft=1s", **options})
    assert word in str(caught.value)


# -- links that cannot carry the traffic ------------------------------------------------------------------------------


def test_a_link_too_slow_for_the_traffic_is_refused_with_one_that_carries_it() -> None:
    fields = {"slo": ["ttft=1s", "tbt=1s"], "design": "Splitwise-HA", "network": "1 x ethernet-10g"}
    with pytest.raises(InfeasibleError) as caught:
        planner.optimize(fields, verify=False)
    error = caught.value
    sizes = resolve(load_scenario(fields)).sizes
    needed = 70 * sizes.mean_prompt_tokens * LLAMA_70B_BYTES_PER_TOKEN
    assert error.where == "network" and error.exit_code == 3
    assert f"need {needed / 1e9:.1f} GB/s" in str(error.rule)
    assert "3.52 GB/s out of 3 x dgx-h100" in str(error.rule)  # 3 x 10 Gbit/s x 0.94
    assert "--network '1 x ethernet-100g'" in str(error.fix)
    links_of(load_scenario(fields, network="1 x ethernet-100g"))
    with pytest.raises(InfeasibleError):  # the next slower link of the catalog
        links_of(load_scenario(fields, network="1 x ethernet-25g"))


def test_a_transfer_that_comes_too_late_is_refused() -> None:
    with pytest.raises(InfeasibleError, match="cannot carry") as caught:
        planner.optimize(slo=["ttft=1s", "tbt=50ms"], design="Splitwise-HA", network="1 x ethernet-1g", verify=False)
    assert "too late for TBT p99 <= 50 ms" in str(caught.value.rule)


def test_machines_without_a_link_are_refused_by_name() -> None:
    with pytest.raises(InfeasibleError, match="exchange KV caches") as caught:
        planner.optimize(slo="ttft=1s", design="Splitwise-aws-p5.48xlarge+dgx-a100", objective="power", verify=False)
    assert "aws-p5.48xlarge" in caught.value.what


@pytest.mark.parametrize(
    "fields",
    [
        {"design": "Splitwise-HA"},
        {"design": "auto", "network": "1 x ethernet-1g"},
        {"design": "Splitwise-HA", "slo": "ttft=1ms"},  # out of reach, but not for the network
        {"design": "Splitwise-HA", "max_cost": "100 USD/h"},  # too dear, but not for the network
    ],
    ids=["own network", "mixed pools too", "out of reach", "too dear"],
)
def test_other_designs_pass(fields: dict[str, Any]) -> None:
    links_of(load_scenario({"slo": "ttft=1s", **fields}))
