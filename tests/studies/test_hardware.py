"""Which machines can serve a model: against what `optimize` rejects, and bytes by hand."""

from __future__ import annotations

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import UnknownNameError
from planner.export.tables.hardware import hardware_table
from planner.scenario.resolve import configurations, resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies.hardware import HardwareFit, MachineFit, hardware_fit, smaller_models

CATALOG = Catalog()


@pytest.fixture(scope="module")
def found() -> HardwareFit:
    return hardware_fit("llama-3.1-70b", catalog=CATALOG)


def row(found: HardwareFit, machine: str) -> MachineFit:
    return next(m for m in found.machines if m.machine == machine)


@pytest.mark.parametrize("model", ["llama-3.1-70b", "llama-3.1-405b", "deepseek-v3"])
def test_it_agrees_with_optimize_on_every_machine(model: str) -> None:
    fit = hardware_fit(model, catalog=CATALOG)
    # Requests of a few tokens: pipelines that only long ones need are not among the layouts of a model by itself.
    asked = {"model": model, "machines": "all", "objective": "machines", "isl": 8, "osl": 8}
    problem = resolve(load_scenario(asked), CATALOG)
    able, rejected = configurations(problem)
    assert {m.machine for m in fit.machines} == set(CATALOG.names(Machine)) == {m.name for m in problem.machines}
    assert {m.machine for m in fit.machines if m.fits} == {c.machine.name for c in able}
    assert {m.machine: m.reason for m in fit.machines if not m.fits} == {
        r.machine: f"{r.error.what}: {r.error.value}" for r in rejected
    }
    for m in fit.machines:
        assert sorted(m.layouts) == sorted(c.layout.label for c in able if c.machine.name == m.machine)


def test_bytes_by_hand(found: HardwareFit) -> None:
    """70.55e9 parameters in bf16 are 141.1 GB; eight T4 have 8 x 15 GiB."""
    t4 = row(found, "8x-t4")
    assert not t4.fits and t4.available_bytes == 8 * 15360 * 2**20
    assert t4.weight_bytes == pytest.approx(2 * 70.55e9, rel=0.01)
    assert t4.needed_bytes > t4.available_bytes
    assert t4.reason is not None and f"{t4.needed_bytes:,.0f} bytes" in t4.reason
    h100 = row(found, "dgx-h100")
    assert h100.fits and h100.layouts[0] == "4 x TP2" and h100.available_bytes == 2 * 81559 * 2**20
    room = h100.available_bytes - h100.needed_bytes
    assert h100.kv_tokens == pytest.approx(room / 327_680, rel=1e-6)


def test_what_fits_instead_does_fit(found: HardwareFit) -> None:
    unable = [m for m in found.machines if not m.fits]
    assert {m.machine for m in unable} >= {"8x-t4", "8x-rtx-2080-ti"}
    for m in unable:
        assert m.instead
        for way in m.instead:
            again = hardware_fit(way.model, [m.machine], precision=way.precision, catalog=CATALOG)  # type: ignore[arg-type]
            assert again.machines[0].fits and way.layout in again.machines[0].layouts
    kinds = {way.kind for m in unable for way in m.instead}
    assert kinds == {"precision", "model"}


def test_families_go_by_name() -> None:
    assert [m.name for m in smaller_models(CATALOG, CATALOG.llm("llama-3.1-405b"))] == ["llama-3.1-70b", "llama-3.1-8b"]
    assert [m.name for m in smaller_models(CATALOG, CATALOG.llm("gpt-oss-120b"))] == ["gpt-oss-20b"]
    assert smaller_models(CATALOG, CATALOG.llm("bloom-176b")) == []


@pytest.mark.parametrize("machine", ["8x-rtx-2080-ti", "8x-rtx-4090", "8x-l4", "8x-l40s", "8x-t4", "8x-mi300x",
                                     "8x-gaudi-3", "8x-tpu-v5e", "8x-tpu-v6e"])  # fmt: skip
def test_hardware_outside_the_paper_serves_a_small_model(machine: str) -> None:
    m = hardware_fit("llama-3.1-8b", [machine], catalog=CATALOG).machines[0]
    assert m.fits and m.kv_tokens > 1000
    assert m.decode_step_s and m.prefill_s and 0 < m.decode_step_s < 1


def test_lower_precision_never_fits_fewer_machines() -> None:
    able = [
        {m.machine for m in hardware_fit("llama-3.1-405b", precision=p, catalog=CATALOG).machines if m.fits}  # type: ignore[arg-type]
        for p in ("bf16", "fp8")
    ]
    supported = {name for name in CATALOG.names(Machine) if "fp8" in CATALOG.accelerator_of(name).peak}
    assert able[0] & supported <= able[1]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown machine"):
        hardware_fit("llama-3.1-70b", ["dgx-h101"])
    with pytest.raises(UnknownNameError, match="unknown model"):
        hardware_fit("llama-3.1-71b")


def test_mixed_pools_are_decided_by_the_model() -> None:
    """L40S prompts beside A100 decode need less power than either alone; L4 on AWS carry only what is left over."""
    fields = {"model": "llama-3.1-8b", "slo": ["ttft=1s", "tbt=60ms"], "rate": "300/s", "verify": False}
    pools = ["8x-l4", "8x-l40s", "dgx-a100"]
    mixed = planner.optimize(fields, machines=pools, network="roce-100g", objective="power", max_pools=2)
    alone = [
        planner.optimize(fields, machines=[name], network="roce-100g", objective="power").power_w for name in pools[1:]
    ]
    assert {p.machine for p in mixed.pools} == {"8x-l40s", "dgx-a100"}
    assert mixed.power_w < min(alone)
    small, large = "aws-g6.12xlarge", "aws-p4de.24xlarge"

    def rent(rate_per_s: float, *machines: str) -> planner.Plan:
        asked = fields | {"rate": f"{rate_per_s}/s"}
        return planner.optimize(asked, machines=list(machines), network="ethernet-100g", max_pools=len(machines))

    # A request costs more than twice as much on L4s: they stand in for the last large machine, which had little to do.
    (only_large,), (only_small,) = rent(300.0, large).pools, rent(300.0, small).pools
    both = {p.machine: p for p in rent(300.0, small, large).pools}
    price = {p.machine: p.cost_usd_per_hour / p.count for p in (only_large, only_small)}
    assert price[small] * only_small.count > 2.0 * price[large] * only_large.count
    assert both[large].count == only_large.count - 1
    assert price[small] * both[small].count < price[large]
    # The large machines are full, and what they carry is rented without L4s.
    assert {p.machine for p in rent(both[large].rate_per_s * (1.0 - 1e-6), small, large).pools} == {large}


def test_the_text_has_every_machine_and_reason(found: HardwareFit) -> None:
    text = " ".join(hardware_table(found).split())  # wherever lines are broken
    for m in found.machines:
        assert m.machine in text
        if not m.fits:
            assert f"{m.needed_bytes:,.0f} bytes" in text and f"{m.available_bytes:,.0f}" in text
    assert "instead" in text
    assert len(found.to_records()) == len(found.machines)
    assert HardwareFit.model_validate_json(found.model_dump_json()) == found
