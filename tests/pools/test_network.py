"""Another network under all machines: read, applied, and its effect on transfers by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Fabric
from planner.errors import InfeasibleError, InputError, ScenarioError, UnitError, UnknownNameError
from planner.latency.transfer import kv_transfer_exposed_s, kv_transfer_ways_s
from planner.planning.search import solve_problem
from planner.pools.candidate import network_rate_per_s, transfer_s
from planner.pools.network import parse_network
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import configurations, resolve
from planner.scenario.scenario_file import load_scenario

CATALOG = Catalog()
TP8 = "1 x TP8"


def tp8(machine: str, **fields: Any) -> Any:
    problem = resolve(load_scenario({"machines": [machine], "model": "llama-3.1-70b", **fields}), CATALOG)
    return next(c for c in configurations(problem)[0] if c.layout.label == TP8), problem


@pytest.mark.parametrize(
    ("text", "n_nics", "bytes_per_s", "fabric"),
    [
        ("ethernet-25g", 8, 25e9 / 8, "ethernet-25g"),
        ("25Gbit/s", 8, 25e9 / 8, "infiniband-hdr"),
        ("2 x ethernet-25g", 2, 25e9 / 8, "ethernet-25g"),
        ("4 x ethernet-roce 50Gbit/s", 4, 50e9 / 8, "ethernet-roce"),
        ("1 x 3 GB/s", 1, 3e9, "infiniband-hdr"),
        ("ethernet-roce", 8, 200e9 / 8, "ethernet-roce"),  # no line rate of its own: each NIC keeps its
    ],
)
def test_a_network_replaces_what_it_names(text: str, n_nics: int, bytes_per_s: float, fabric: str) -> None:
    override = parse_network(text, None, CATALOG)
    assert override is not None
    machine, used = override.applied(CATALOG.machine("dgx-a100"), CATALOG.fabric_of("dgx-a100"))
    assert (machine.network.n_nics, machine.network.nic_bandwidth_bytes_per_s) == (n_nics, bytes_per_s)
    assert machine.network.fabric == used.name == fabric
    assert override.describe()


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("ethernet-26g", UnknownNameError, "ethernet-25g"),
        ("0 Gbit/s", ScenarioError, "more than zero"),
        ("-5 Gbit/s", ScenarioError, "more than zero"),
        ("0 x ethernet-25g", ScenarioError, "at least one NIC"),
        ("25", UnitError, "bandwidth"),
        ("25 GB", UnitError, "bandwidth"),
        ("1e30 GB/s", ScenarioError, "no link"),
        ("", ScenarioError, "no network"),
    ],
)
def test_what_is_no_network_is_refused(text: str, kind: type[InputError], word: str) -> None:
    with pytest.raises(kind, match=None) as caught:
        parse_network(text, None, CATALOG)
    assert word in str(caught.value)
    assert caught.value.where == "network"


def test_oversubscription_below_one_is_refused() -> None:
    with pytest.raises(ScenarioError, match="greater than or equal to 1"):
        load_scenario({"oversubscription": 0.5})


def test_bandwidth_is_that_of_the_nics_over_the_oversubscription() -> None:
    own, _ = tp8("dgx-a100")
    assert own.network_bytes_per_s == pytest.approx(8 * 25e9 * 0.9)
    shared, _ = tp8("dgx-a100", oversubscription=4)
    assert shared.network_bytes_per_s == pytest.approx(own.network_bytes_per_s / 4)
    slow, _ = tp8("dgx-a100", network="2 x ethernet-10g", oversubscription=2)
    assert slow.network_bytes_per_s == pytest.approx(2 * 1.25e9 * 0.94 / 2)


def test_transfer_by_hand() -> None:
    """Llama-3.1 70B keeps 80 layers x 2 x 8 KV heads x 128 x 2 bytes = 327,680 bytes a token."""
    sender, problem = tp8("dgx-h100", network="1 x ethernet-10g")
    need = problem.need
    prefill = np.zeros_like(need.traffic.prompt_tokens)  # nothing to hide behind
    found = transfer_s(sender, sender, need, prefill)
    wire = need.traffic.prompt_tokens * 327_680 / (1.25e9 * 0.94)
    costs = need.kv_transfer
    serialised = costs.setup_s + 30e-6 + wire
    synchronisation = costs.synchronisation_s * (costs.reference_bandwidth_bytes_per_s / 1.25e9) ** np.log2(8 / 5)
    assert found == pytest.approx(np.minimum(serialised, synchronisation + 30e-6 + wire))
    assert network_rate_per_s(sender, need) == pytest.approx(
        1.175e9 / (need.traffic.sizes.mean_prompt_tokens * 327_680)
    )


def test_the_paper_hides_most_of_a_transfer() -> None:
    """Splitwise: serialised below 512 prompt tokens; overlapped, about 8 ms are left on A100 with 200 Gbit/s."""
    sender, problem = tp8("dgx-a100", runtime="splitwise-2023", model="bloom-176b")
    costs = problem.need.kv_transfer
    tokens = np.array([128.0, 1500.0])
    args = (tokens, sender.lane.prefill_time_s(tokens), sender.kv_bytes_per_token, 70, sender.network_bytes_per_s, 3e-6)
    serialised, overlapped = kv_transfer_ways_s(*args, costs)
    assert serialised[0] < overlapped[0]
    assert overlapped[1] < serialised[1]
    assert 0.005 < overlapped[1] < 0.012
    assert kv_transfer_exposed_s(*args, costs) == pytest.approx(np.minimum(serialised, overlapped))
    alone = costs.model_copy(update={"overlapped": False})
    assert kv_transfer_exposed_s(*args, alone) == pytest.approx(serialised)


def test_a_pool_whose_nics_are_full_does_not_keep_up() -> None:
    sender, problem = tp8("dgx-h100", network="1 x ethernet-1g")
    most = network_rate_per_s(sender, problem.need)
    for rate, keeps_up in ((2 * most * 0.999, True), (2 * most * 1.001, False)):
        members = [Member(role, sender, 2, rate) for role in ("prefill", "decode")]
        model = ClusterModel(members, [Route(0, 1, rate)], problem.need)
        assert [model.keeps_up(i) for i in (0, 1)] == [keeps_up] * 2
        assert model.network_utilisation(0) == pytest.approx(rate / most / 2)


def test_a_slower_network_is_never_cheaper() -> None:
    costs = []
    for network in ("400 Gbit/s", "10 Gbit/s", "1 Gbit/s", "100 Mbit/s"):
        fields = {"slo": "ttft=1s", "design": "Splitwise-HA", "network": network}
        problem = resolve(load_scenario(fields), CATALOG)
        try:
            costs.append(solve_problem(problem).selection.objective)
        except InfeasibleError:  # no count of machines carries it
            costs.append(float("inf"))
        assert any(note.startswith("network: ") for note in problem.notes)
    assert costs == sorted(costs)
    assert costs[-1] > costs[0]


def test_every_fabric_has_sources() -> None:
    for name in CATALOG.names(Fabric):
        fabric = CATALOG.fabric(name)
        assert 0 < fabric.efficiency <= 1 and fabric.oversubscription >= 1
        for field in ("efficiency", "latency", "line_rate"):
            assert len(fabric.provenance_of(field).source) > 10
