"""A machine with a model laid out on it."""

from __future__ import annotations

from typing import Any

import pytest

from planner.catalog.catalog import Catalog
from planner.errors import CatalogError, DoesNotFitError, ScenarioError
from planner.latency.batch import decode_batch
from planner.pools.configuration import Serving, check_degrees, configurations_of, configure, layouts, make_layout

BIG, SMALL, MIXTURE = "llama-3.1-70b", "llama-3.1-8b", "qwen3-30b-a3b"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def serving(catalog: Catalog, model: str, **fields: Any) -> Serving:
    return Serving(catalog.llm(model), catalog.runtime("vllm-2026"), **fields)


@pytest.mark.parametrize("model", [BIG, SMALL, MIXTURE])
@pytest.mark.parametrize("machine", ["dgx-h100", "8x-l40s", "aws-g6.12xlarge", "8x-rtx-4090"])
def test_layouts_fill_the_machine_and_split_the_model_evenly(catalog: Catalog, model: str, machine: str) -> None:
    m, s = catalog.machine(machine), serving(catalog, model)
    found = layouts(m, catalog.accelerator_of(m), s)
    assert len({layout.label for layout in found}) == len(found)
    for layout in found:
        assert layout.accelerators_per_replica * layout.replicas == m.n_accelerators
        check_degrees(s.llm, layout)
        assert configure(catalog, m, s, layout).lane.kv_tokens >= 1


def test_a_layout_fits_exactly_where_it_is_offered(catalog: Catalog) -> None:
    """Of the tensor degrees, those offered fit and the others are refused with both byte counts."""
    m, s = catalog.machine("dgx-a100"), serving(catalog, BIG)
    offered = {x.tensor_parallel for x in layouts(m, catalog.accelerator_of(m), s) if x.pipeline_parallel == 1}
    for tp in (1, 2, 4, 8):
        layout = make_layout(m, s, tp)
        if tp in offered:
            configure(catalog, m, s, layout)
        else:
            with pytest.raises(DoesNotFitError) as caught:
                configure(catalog, m, s, layout)
            assert str(caught.value.value).count(" bytes") == 2
    assert {4, 8} <= offered and 1 not in offered


def test_pipelines_are_offered_where_links_are_slow(catalog: Catalog) -> None:
    def stages(machine: str) -> set[int]:
        m = catalog.machine(machine)
        return {x.pipeline_parallel for x in layouts(m, catalog.accelerator_of(m), serving(catalog, BIG))}

    assert stages("dgx-h100") == {1}
    assert max(stages("8x-l40s")) > 1


def test_lower_precision_leaves_more_memory(catalog: Catalog) -> None:
    m = catalog.machine("dgx-h100")
    tokens = []
    for precision in ("bf16", "fp8"):
        s = serving(catalog, BIG, precision=precision)
        tokens.append(configure(catalog, m, s, make_layout(m, s, 8)).lane.kv_tokens)
    assert tokens[1] > tokens[0]


def test_replicas_share_the_network(catalog: Catalog) -> None:
    m, s = catalog.machine("dgx-h100"), serving(catalog, SMALL)
    whole, eighth = (configure(catalog, m, s, make_layout(m, s, tp)) for tp in (8, 1))
    assert whole.network_bytes_per_s == eighth.network_bytes_per_s
    assert whole.replica_network_bytes_per_s == whole.network_bytes_per_s
    assert eighth.replica_network_bytes_per_s == pytest.approx(whole.network_bytes_per_s / 8)
    nominal = m.network.n_nics * m.network.nic_bandwidth_bytes_per_s
    assert 0.5 * nominal < whole.network_bytes_per_s <= nominal


def test_more_accelerators_than_there_are(catalog: Catalog) -> None:
    m, s = catalog.machine("dgx-h100"), serving(catalog, SMALL)
    with pytest.raises(ScenarioError, match="accelerators"):
        configure(catalog, m, s, make_layout(m, s, 16))


def test_a_machine_that_cannot_serve_says_why(catalog: Catalog) -> None:
    found, rejected = configurations_of(catalog, catalog.machine("8x-t4"), serving(catalog, BIG))
    assert not found
    (rejection,) = rejected
    assert rejection.machine == "8x-t4"
    assert isinstance(rejection.error, DoesNotFitError)


def test_a_profile_without_the_machine_names_what_it_holds(catalog: Catalog, tmp_path: Any) -> None:
    from planner.latency.profile import read_profile

    table = tmp_path / "steps.csv"
    table.write_text(
        "model,hardware,prompt_size,batch_size,prompt_time,token_time,tensor_parallel\n"
        "llama-3.1-8b,dgx-h100,512,1,20,8,8\nllama-3.1-8b,dgx-h100,1024,1,35,8,8\n"
        "llama-3.1-8b,dgx-h100,512,2,36,9,8\nllama-3.1-8b,dgx-h100,512,4,70,10,8\n"
    )
    s = serving(catalog, SMALL, profile=read_profile(table))
    found, _ = configurations_of(catalog, catalog.machine("dgx-h100"), s)
    assert [c.layout.tensor_parallel for c in found] == [8]
    none, rejected = configurations_of(catalog, catalog.machine("dgx-a100"), s)
    assert not none
    assert all(isinstance(r.error, CatalogError) for r in rejected)
    assert "llama-3.1-8b on dgx-h100 TP8" in str(rejected[0].error)


def test_groups_of_machines_share_no_lane_across_networks(catalog: Catalog) -> None:
    """Ranks of a replica over several machines talk over the NICs: 8 x 400 Gbit/s are faster than one of 350."""
    s = serving(catalog, "deepseek-v3")
    lanes = {}
    for name in ("hyperstack-8x-h200@4", "nebius-8x-h200@4"):
        m = catalog.machine(name)
        lanes[name] = configure(catalog, m, s, make_layout(m, s, 1, 1, 32, 32)).lane
    batch = decode_batch(2048.0, 2000.0)
    slow, fast = (float(lane.step.step_time_s(batch)) for lane in lanes.values())
    assert slow > 1.3 * fast
    alone = [configure(catalog, catalog.machine(n), s, make_layout(catalog.machine(n), s, 8)).lane
             for n in ("hyperstack-8x-h200", "nebius-8x-h200")]  # fmt: skip
    assert alone[0] is alone[1]
