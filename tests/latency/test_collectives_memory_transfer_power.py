"""Collectives, memory fit, KV transfer, power and pipelines against closed forms and the Splitwise paper."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from planner.catalog.catalog import Catalog
from planner.catalog.schema import PRECISION_BYTES, STORED_BYTES, Llm, Precision, ScaleUp
from planner.errors import CatalogError, DoesNotFitError
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.collectives import (
    all_reduce_lines,
    all_reduce_time_s,
    link_bytes_per_s,
    point_to_point_time_s,
)
from planner.latency.layout import Layout
from planner.latency.memory import (
    MemoryFit,
    activation_bytes,
    memory_fit,
    require_fit,
)
from planner.latency.power import accelerator_power_w, machine_power_w
from planner.latency.roofline import RooflineLatency
from planner.latency.sequences import kv_bytes_per_token, kv_share, residency_of
from planner.latency.transfer import kv_transfer_exposed_s, synchronisation_scale
from planner.studies.estimate import estimate

CATALOG = Catalog.default()


def layout(tp: int = 8, pp: int = 1, precision: Precision = "fp16") -> Layout:
    return Layout(tensor_parallel=tp, pipeline_parallel=pp, precision=precision, kv_precision="fp16")


def test_ring_all_reduce() -> None:
    """Eight ranks, 8 MB, 100 GB/s: 14 hops of 1 us, 14/8 x 80 us, 10 us fixed."""
    assert all_reduce_time_s(8e6, 8, 100e9, 10e-6, 1e-6) == pytest.approx(10e-6 + 14e-6 + 140e-6)
    assert all_reduce_time_s(8e6, 1, 100e9, 10e-6) == 0
    assert point_to_point_time_s(8e6, 100e9, 10e-6) == pytest.approx(90e-6)


def test_topologies() -> None:
    def link(topology: str, n: int) -> float:
        return link_bytes_per_s(
            ScaleUp.model_validate({"topology": topology, "bandwidth": 100e9, "pcie_bandwidth": 32e9}), n
        )

    assert link("switched", 8) == 100e9
    assert (link("bridge_pairs", 2), link("bridge_pairs", 4)) == (100e9, 32e9)
    assert (link("pcie", 2), link("pcie", 4), link("pcie", 8)) == (100e9, 25e9, 12.5e9)
    assert link("none", 2) == 0


def test_small_all_reduces_take_the_direct_algorithm() -> None:
    machine, runtime = CATALOG.machine("dgx-h100"), CATALOG.runtime("vllm-2026")
    accelerator, llm = CATALOG.accelerator_of(machine), CATALOG.llm("llama-3.1-70b")
    e = runtime.efficiency(accelerator)
    assert e.direct_all_reduce_alpha_s is not None and e.direct_link is not None
    assert e.one_shot_alpha_s is not None and e.one_shot_link is not None
    step = RooflineLatency(llm, machine, accelerator, runtime, layout())
    ranks_s = 8 * e.direct_rank_s
    one = (e.one_shot_alpha_s + ranks_s, 7 / e.one_shot_link)
    two, ring = (e.direct_all_reduce_alpha_s + ranks_s, 14 / 8 / e.direct_link), (e.all_reduce_alpha_s, 14 / 8 / e.link)
    for batch, (alpha_s, bytes_per_link_byte) in ((1, one), (200, two), (40000, ring)):
        [cost] = [c for c in step.operators(decode_batch(batch, 1)) if c.name == "all-reduce"]
        assert cost.time_s == pytest.approx(160 * (alpha_s + batch * 16384 * bytes_per_link_byte / 450e9))


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
@pytest.mark.parametrize("accelerator", ["a100-sxm-80gb", "h100-sxm", "b200-sxm"])
def test_the_envelope_of_all_reduces_is_their_minimum(engine: str, accelerator: str) -> None:
    e = CATALOG.runtime(f"{engine}-2026").efficiency(CATALOG.accelerator(accelerator))
    assert e.direct_all_reduce_alpha_s is not None and e.direct_link is not None
    assert e.one_shot_alpha_s is not None and e.one_shot_link is not None
    sizes = np.geomspace(64, 1e10, 200)
    for n in (2, 4, 8):
        envelope = all_reduce_lines(e, n, 400e9, direct=True)
        ranks_s = n * e.direct_rank_s
        every = [
            e.one_shot_alpha_s + ranks_s + (n - 1) * sizes / (e.one_shot_link * 400e9),
            all_reduce_time_s(sizes, n, e.direct_link * 400e9, e.direct_all_reduce_alpha_s + ranks_s),
            all_reduce_time_s(sizes, n, e.link * 400e9, e.all_reduce_alpha_s),
        ]
        lowest = np.minimum.reduce([fixed_s + byte_s * sizes for fixed_s, byte_s in envelope])
        np.testing.assert_allclose(lowest, np.minimum.reduce(every), rtol=1e-12)
        assert [f for f, _ in envelope] == sorted(f for f, _ in envelope)


def test_a_pipeline_has_the_latency_of_all_layers() -> None:
    machine, runtime = CATALOG.machine("dgx-h100"), CATALOG.runtime("vllm-2026")
    accelerator, llm = CATALOG.accelerator_of(machine), CATALOG.llm("llama-3.1-70b")
    one, two = (RooflineLatency(llm, machine, accelerator, runtime, layout(4, pp)) for pp in (1, 2))
    batch = decode_batch(8, 1000)
    bubble = 1 + runtime.defaults.pipeline_bubble
    assert float(one.step_time_s(batch)) < float(two.step_time_s(batch)) < 1.01 * bubble * float(one.step_time_s(batch))


def test_memory_of_llama_2_70b_on_eight_a100() -> None:
    """69 B parameters in 2 bytes on 8 ranks; a token's KV on one rank is one head's 512 bytes in 80 layers."""
    machine, runtime = CATALOG.machine("dgx-a100"), CATALOG.runtime("splitwise-2023")
    fit = memory_fit(CATALOG.llm("llama-2-70b"), CATALOG.accelerator_of(machine), runtime, layout())
    assert fit.weight_bytes == pytest.approx(68.98e9 * 2 / 8, rel=0.005)
    assert fit.kv_bytes_per_token == 80 * 512
    assert fit.reserve_bytes == pytest.approx(8 * 2**30)
    free = 80 * 2**30 - fit.weight_bytes - fit.activation_bytes - fit.reserve_bytes
    assert fit.resident_tokens == pytest.approx(free / 40960)


def fit_of(model: str, runtime: str = "vllm-2026", accelerator: str = "h100-sxm", tp: int = 1) -> MemoryFit:
    one = Layout(tensor_parallel=tp, precision=CATALOG.llm(model).weight_precision, kv_precision="bf16")
    return memory_fit(CATALOG.llm(model), CATALOG.accelerator(accelerator), CATALOG.runtime(runtime), one)


def test_kv_cache_as_vllm_logs_it_on_one_h100() -> None:
    """Llama-3.1-8B in bf16 at a memory fraction of 0.9: vLLM 0.11 logs 51.38 GiB, 420,900 tokens."""
    fit = fit_of("llama-3.1-8b")
    assert fit.resident_tokens == pytest.approx(420_900, rel=0.05)
    assert fit.resident_tokens * fit.kv_bytes_per_token == pytest.approx(51.38 * 2**30, rel=0.05)


@pytest.mark.parametrize(("model", "gib"), [("gpt-oss-120b", 64.38), ("gpt-oss-20b", 13.47)])
def test_weights_of_mxfp4_experts_as_vllm_logs_them(model: str, gib: float) -> None:
    assert fit_of(model).weight_bytes == pytest.approx(gib * 2**30, rel=0.005)


def test_scales_of_four_bit_weights() -> None:
    """NVFP4 4.5 bits a weight, MXFP4 4.25: the specifications' block sizes and 8-bit scales."""
    assert STORED_BYTES["fp4"] * 8 == 4.5
    assert STORED_BYTES["mxfp4"] * 8 == 4.25
    assert all(STORED_BYTES[p] >= PRECISION_BYTES[p] for p in PRECISION_BYTES)


def test_a_reserve_of_free_memory_is_less_than_one_of_all_memory() -> None:
    runtime = CATALOG.runtime("vllm-2026")
    free = runtime.model_copy(update={"memory_use": runtime.memory_use.model_copy(update={"reserve_of": "free"})})
    llm, accelerator, one = CATALOG.llm("llama-3.1-8b"), CATALOG.accelerator("h100-sxm"), layout(1)
    fits = [memory_fit(llm, accelerator, r, one) for r in (runtime, free)]
    assert fits[1].resident_tokens > fits[0].resident_tokens
    left = fits[1].capacity_bytes - fits[1].weight_bytes - fits[1].activation_bytes - runtime.memory_use.workspace_bytes
    assert fits[1].resident_tokens * fits[1].kv_bytes_per_token == pytest.approx(0.9 * left)


def test_the_memory_that_sampling_takes_grows_with_the_batch_and_the_vocabulary() -> None:
    runtime = CATALOG.runtime("vllm-2026")
    llm = CATALOG.llm("llama-3.1-8b")
    large, small = CATALOG.accelerator("h100-sxm"), CATALOG.accelerator("l40s")
    few, many = (
        activation_bytes(llm, large, runtime.model_copy(update={"max_batch": n}), layout(1)) for n in (512, 2048)
    )
    assert many == pytest.approx(4 * few)
    assert activation_bytes(llm, small, runtime, layout(1)) == pytest.approx(few / 2)


@pytest.mark.parametrize(("machine", "model"), [("8x-rtx-2080-ti", "llama-2-70b"), ("8x-t4", "llama-3.1-70b")])
def test_what_does_not_fit_is_refused_with_both_byte_counts(machine: str, model: str) -> None:
    entry, llm = CATALOG.machine(machine), CATALOG.llm(model)
    accelerator, runtime = CATALOG.accelerator_of(entry), CATALOG.runtime("vllm-2026")
    fit = memory_fit(llm, accelerator, runtime, layout())
    with pytest.raises(DoesNotFitError) as caught:
        require_fit(llm, accelerator, runtime, layout())
    assert f"{8 * fit.needed_bytes:,.0f} bytes" in str(caught.value)
    assert f"{8 * accelerator.memory_bytes:,.0f} bytes" in str(caught.value)


def exposed_ms(model: str, machine: str, tokens: float) -> float:
    """As `fleet.candidate.transfer_s`: eight NICs of the machine, Splitwise's runtime."""
    entry, runtime, llm = CATALOG.machine(machine), CATALOG.runtime("splitwise-2023"), CATALOG.llm(model)
    accelerator, fabric = CATALOG.accelerator_of(entry), CATALOG.fabric_of(entry)
    nic = entry.network.nic_bandwidth_bytes_per_s
    costs = runtime.kv_transfer
    costs = costs.model_copy(update={"synchronisation_s": costs.synchronisation_s * synchronisation_scale(nic, costs)})
    prefill_s = RooflineLatency(llm, entry, accelerator, runtime, layout()).step_time_s(prefill_batch(tokens))
    return 1e3 * float(
        kv_transfer_exposed_s(
            tokens, prefill_s, kv_bytes_per_token(llm, layout()), llm.n_layers,
            entry.network.n_nics * nic * fabric.efficiency, fabric.latency_s, costs,
        )
    )  # fmt: skip


def test_transfer_leaves_what_splitwise_measured() -> None:
    """Section IV-C: overlapped, about 8 ms stay exposed on A100 with 200 Gbit/s, 5 ms on H100 with 400."""
    assert exposed_ms("bloom-176b", "dgx-a100", 1500) == pytest.approx(8, abs=1)
    assert exposed_ms("bloom-176b", "dgx-h100", 1500) == pytest.approx(5, abs=1)
    # Small prompts go in one piece, which is quicker and linear in their tokens.
    assert exposed_ms("bloom-176b", "dgx-h100", 300) == pytest.approx(300 * 4_014_080 / 360e9 * 1e3, rel=0.02)
    assert exposed_ms("bloom-176b", "dgx-a100", 300) < exposed_ms("bloom-176b", "dgx-a100", 1500)


def test_power_is_splitwise_fit_between_idle_and_cap() -> None:
    e = CATALOG.runtime("splitwise-2023").efficiency(CATALOG.accelerator("a100-sxm-80gb"))
    assert accelerator_power_w(0.0, 0.5, 400.0, e) == pytest.approx(400 * (0.32 + 0.69 * 0.5))
    assert accelerator_power_w(1.0, 1.0, 400.0, e) == 400
    assert accelerator_power_w(1.0, 1.0, 400.0, e, cap=0.5) == 200
    machine = CATALOG.machine("dgx-a100")
    accelerator = CATALOG.accelerator_of(machine)
    half = machine_power_w(machine, accelerator, e, 300.0, 0.5)
    assert half == pytest.approx(machine.chassis_power_w + 8 * (0.5 * 300 + 0.5 * 0.16 * 400))


@pytest.mark.parametrize("name", ["a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm", "mi300x"])
def test_draw_rises_from_idle_with_the_share_in_which_kernels_work(name: str) -> None:
    accelerator = CATALOG.accelerator(name)
    e = CATALOG.runtime("vllm-2026").efficiency(accelerator)
    shares = np.linspace(0.0, 1.0, 11)
    drawn = accelerator_power_w(0.0, 0.0, accelerator.tdp_w, e, working=shares)
    assert drawn[0] == pytest.approx(e.power_idle * accelerator.tdp_w)
    assert np.all(np.diff(drawn) >= 0) and drawn[-1] <= accelerator.tdp_w
    assert drawn[5] == pytest.approx(accelerator.tdp_w * (e.power_base + 0.5 * e.power_working))


def test_kernels_work_while_a_step_neither_launches_nor_waits() -> None:
    machine = CATALOG.machine("dgx-h100")
    step = RooflineLatency(
        CATALOG.llm("llama-2-70b"), machine, CATALOG.accelerator_of(machine), CATALOG.runtime("vllm-2026"), layout()
    )
    for batch in (prefill_batch([100.0, 4000.0]), decode_batch([1.0, 64.0], 1000.0)):
        work_s = sum(np.maximum(o.compute_time_s, o.memory_time_s) for o in step.operators(batch))
        np.testing.assert_allclose(step.working(batch), work_s / step.step_time_s(batch))
        assert np.all(step.working(batch) < 1.0)


def test_a_power_cap_stretches_prompts_only() -> None:
    llm, runtime = CATALOG.llm("llama-2-70b"), CATALOG.runtime("splitwise-2023")
    free, capped = (
        RooflineLatency(llm, m, CATALOG.accelerator_of(m), runtime, layout())
        for m in (CATALOG.machine("dgx-h100"), CATALOG.machine("dgx-h100-cap"))
    )
    batch = prefill_batch([500.0, 2000.0])
    np.testing.assert_allclose(capped.step_time_s(batch), 1.3 * free.step_time_s(batch))
    np.testing.assert_allclose(capped.step_time_s(decode_batch(4, 100)), free.step_time_s(decode_batch(4, 100)))


def test_ranks_without_a_link_are_refused() -> None:
    machine = CATALOG.machine("dgx-h100")
    lonely = machine.model_copy(update={"scale_up": ScaleUp(topology="none", bandwidth=1e9)})  # type: ignore[call-arg]
    with pytest.raises(CatalogError, match="no link"):
        RooflineLatency(
            CATALOG.llm("llama-2-70b"), lonely, CATALOG.accelerator_of(machine), CATALOG.runtime("vllm-2026"), layout()
        )


def test_estimate_names_what_bounds_a_step() -> None:
    compute = estimate(phase="prefill", tokens=8000, tensor_parallel=4)
    memory = estimate(phase="decode", batch=1, tokens=100, tensor_parallel=4)
    network = estimate(machine="8x-l40s", model="llama-3.1-8b", phase="prefill", tokens=4000, tensor_parallel=8)
    overhead = estimate(
        model="llama-2-7b", machine="dgx-h100", runtime="splitwise-2023", batch=32, tokens=10, tensor_parallel=1
    )
    assert [e.bound for e in (compute, memory, network, overhead)] == ["compute", "memory", "network", "overhead"]
    for e in (compute, memory, network, overhead):
        assert sum(row.time_s for row in e.breakdown) == pytest.approx(e.latency_s)
        assert sum(row.share for row in e.breakdown) == pytest.approx(1)
        assert 0 < e.compute_utilisation < 1 and 0 < e.memory_utilisation < 1


def share(llm: Llm, *lengths: ArrayLike) -> float:
    return kv_share(llm, layout(), residency_of(llm, *lengths))


def test_kv_memory_of_windowed_layers_by_hand() -> None:
    """gpt-oss-120b: 18 of 36 layers keep 128 tokens, so 1,128 tokens hold (1,128 + 128)/2 in full."""
    llm = CATALOG.llm("gpt-oss-120b")
    assert share(llm, 1128.0) == pytest.approx(0.5 * (1128 + 128) / 1128)
    assert share(llm, 100.0) == 1.0
    assert share(CATALOG.llm("llama-3.1-70b"), 5000.0, 100.0) == 1.0
    assert share(CATALOG.llm("deepseek-v3"), 5000.0, 100.0) == 1.0


def test_kv_memory_of_windowed_layers_against_counting_every_step() -> None:
    llm = CATALOG.llm("gpt-oss-20b")
    start, steps, weight = np.array([20.0, 90.0, 3000.0]), np.array([300, 50, 700]), np.array([0.5, 0.2, 0.3])
    held = whole = 0.0
    for s, g, w in zip(start, steps, weight, strict=True):
        at = s + np.arange(g) + 0.5  # the middle of each step
        whole += w * at.sum()
        held += w * (0.5 * at + 0.5 * np.minimum(at, 128.0)).sum()
    assert share(llm, start, steps, weight) == pytest.approx(held / whole, rel=1e-4)


def test_windows_leave_room_for_more_sequences() -> None:
    short, long = (estimate(model="gpt-oss-120b", tokens=n).resident_tokens for n in (128, 100_000))
    assert long / short == pytest.approx(2.0, rel=0.01)


def test_host_overhead_may_belong_to_a_machine() -> None:
    """A slow processor, 50 us a layer and 1 ms a step more: 80 layers of Llama-2-70B take 5 ms more in decode."""
    runtime, machine, llm = CATALOG.runtime("splitwise-2023"), CATALOG.machine("dgx-h100"), CATALOG.llm("llama-2-70b")
    accelerator = CATALOG.accelerator_of(machine)
    e = runtime.efficiency(accelerator)
    slow = {"layer_overhead": e.layer_overhead_s + 50e-6, "step_overhead": e.step_overhead_s + 1e-3}
    patch = type(runtime).model_validate(runtime.model_dump() | {"machines": {"dgx-h100": slow}})
    step = decode_batch(4, 1000)
    before, after, elsewhere = (
        float(RooflineLatency(llm, m, accelerator, r, layout()).step_time_s(step))
        for r, m in ((runtime, machine), (patch, machine), (patch, CATALOG.machine("lambda-8x-h100")))
    )
    assert after - before == pytest.approx(80 * 50e-6 + 1e-3)
    assert elsewhere == pytest.approx(before)
