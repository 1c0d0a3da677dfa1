"""Replicas over several machines: against published systems, measured exchanges, and limits that must hold."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.collectives import exchange_bytes_per_token
from planner.latency.layout import Layout
from planner.latency.memory import memory_fit
from planner.latency.roofline import RooflineLatency
from planner.latency.shortcuts import without_cached

CATALOG = Catalog.default()
DEEPSEEK = CATALOG.llm("deepseek-v3")
EXCHANGES = Path(__file__).parents[3] / "shared" / "data" / "kernels" / "moe_all_to_all.csv"


def wide(tp: int = 1, dp: int = 1, pp: int = 1, ep: int = 1, machines: int = 1) -> Layout:
    return Layout(
        tensor_parallel=tp, attention_data_parallel=dp, pipeline_parallel=pp, expert_parallel=ep, machines=machines,
        precision="fp8", kv_precision="bf16",
    )  # fmt: skip


def steps(layout: Layout, machine: str = "dgx-h100", runtime: str = "vllm-2026") -> RooflineLatency:
    entry = CATALOG.machine(machine)
    return RooflineLatency(DEEPSEEK, entry, CATALOG.accelerator_of(entry), CATALOG.runtime(runtime), layout)


def test_prefill_of_deepseek_over_four_machines_is_near_the_published_throughput() -> None:
    """SGLang, EP 32 on 4 x 8 H100, 2,000-token prompts: 52.3k input tokens/s a machine (LMSYS, 5 May 2025).

    Their two-batch overlap hides part of the exchange that is counted in full here; their kernels' efficiencies are
    taken to be those of vLLM.
    """
    tokens = 32 * 8192.0
    time_s = float(steps(wide(dp=32, ep=32, machines=4)).step_time_s(prefill_batch(2000.0, tokens / 2000)))
    assert tokens / time_s / 4 == pytest.approx(52_300, rel=0.25)


def test_decode_of_deepseek_over_nine_machines_is_near_the_published_throughput() -> None:
    """SGLang, EP 72 on 9 x 8 H100, 256 sequences a GPU at 2,000 tokens: 22.3k output tokens/s a machine (same)."""
    layout = wide(dp=72, ep=72, machines=9)
    time_s = float(steps(layout).step_time_s(decode_batch(72 * 256.0, 2050.0)))
    assert 8 * 256 / time_s == pytest.approx(22_300, rel=0.25)
    machine = CATALOG.machine("dgx-h100")
    fit = memory_fit(DEEPSEEK, CATALOG.accelerator_of(machine), CATALOG.runtime("vllm-2026"), layout)
    assert fit.resident_tokens > 72 * 256 * 2100


def test_deepseeks_own_service_on_h800() -> None:
    """DeepSeek, 27 February 2025: a node takes 73.7k prompt tokens/s, 56.3 % of them cached, or gives 14.8k.

    EP 32 on 4 nodes, EP 144 on 18; 4,989 tokens of context an output token on average, 20 to 22 tokens/s a user, which
    makes 14.8k / 8 / 21 = 88 sequences a GPU (github.com/deepseek-ai/open-infra-index, day 6). Prompts of 4,000 tokens,
    whose length they do not say; 2,000 give 4 % more. Their figures are means over a day, not peaks.
    """
    tokens = 32 * 16_384.0
    prompts = without_cached(prefill_batch(4000.0, tokens / 4000), 0.563)
    time_s = float(steps(wide(dp=32, ep=32, machines=4), "8x-h800").step_time_s(prompts))
    assert tokens / time_s / 4 == pytest.approx(73_700, rel=0.25)
    time_s = float(steps(wide(dp=144, ep=144, machines=18), "8x-h800").step_time_s(decode_batch(144 * 88.0, 4989.0)))
    assert 8 * 88 / time_s == pytest.approx(14_800, rel=0.25)


@pytest.mark.parametrize("sequences", [256, 480])
def test_decode_in_a_rack_is_near_the_published_throughput(sequences: int) -> None:
    """SGLang, GB200 NVL72, 48 of its GPUs decoding at 2,000 tokens: 7,583 tokens/s a GPU (LMSYS, 16 June 2025).

    The batch is not told (768 sequences would give 9.7k); the exchange stays inside the scale-up domain.
    Experts as fast as dense
    products (trtllm-2026 has no FP8 experts on Blackwell): their run used DeepGEMM, while the tables of vLLM and SGLang
    time Triton kernels on B200, with which the same step gives 4.9k to 5.7k.
    """
    roofline = steps(wide(dp=48, ep=48), "gb200-nvl72", "trtllm-2026")
    time_s = float(roofline.step_time_s(decode_batch(48.0 * sequences, 2050.0)))
    assert sequences / time_s == pytest.approx(7583, rel=0.25)


@pytest.mark.skipif(not EXCHANGES.is_file(), reason="../shared/data/kernels is not there")
def test_exchanges_across_machines_as_deepep_measures_them() -> None:
    """Low-latency kernels of SGLang on H100, 1 to 8 machines of 8: median error within 15 %."""
    efficiency = CATALOG.runtime("vllm-2026").efficiency(CATALOG.accelerator("h100-sxm"))
    link, nic = efficiency.link * 450e9, efficiency.nic * 50e9
    errors = []
    with EXCHANGES.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["gpu"], row["engine"], row["comm_backend"]) != ("h100-sxm", "sglang", "deepep_ll"):
                continue
            size = float(row["hidden_size"]) * (1.0 if row["phase"] == "dispatch" else 2.0)
            sent = exchange_bytes_per_token(int(row["ep_size"]), 8, int(row["topk"]), size, once_per_domain=False)
            alpha_s = efficiency.exchange_alpha_s + (efficiency.nic_alpha_s if int(row["node_num"]) > 1 else 0.0)
            time_s = alpha_s + float(row["num_tokens"]) * max(sent[0] / link, sent[1] / nic)
            errors.append(abs(time_s * 1e6 / float(row["latency_us"]) - 1))
    assert len(errors) > 100
    assert np.median(errors) < 0.15


def test_exchange_of_a_token_by_hand() -> None:
    """Eight experts over 16 ranks in two domains: half the copies cross; once a domain, nearly every token does."""
    assert exchange_bytes_per_token(16, 8, 8, 1.0, once_per_domain=False) == (8 * 7 / 16, 4.0)
    link, nic = exchange_bytes_per_token(16, 8, 8, 1.0, once_per_domain=True)
    assert (link, nic) == pytest.approx((15 * (1 - (15 / 16) ** 8), 1 - 0.5**8))
    assert exchange_bytes_per_token(8, 8, 8, 1.0, once_per_domain=False) == (7.0, 0.0)


def test_each_group_holds_the_cache_of_its_own_sequences() -> None:
    """Eight groups of one rank hold eight times what one rank has room for; eight tensor ranks each a copy."""
    machine = CATALOG.machine("dgx-h200")
    fits = [
        memory_fit(DEEPSEEK, CATALOG.accelerator_of(machine), CATALOG.runtime("vllm-2026"), layout)
        for layout in (wide(dp=8, ep=8), wide(tp=8, ep=8))
    ]
    assert fits[0].kv_bytes_per_token == fits[1].kv_bytes_per_token
    assert fits[0].weight_bytes > fits[1].weight_bytes
    assert fits[0].resident_tokens > 4 * fits[1].resident_tokens


@pytest.mark.parametrize("layout", [wide(tp=16, ep=16, machines=2), wide(tp=8, pp=2, machines=2)])
def test_deepseek_fits_two_machines_of_eight_h100(layout: Layout) -> None:
    machine = CATALOG.machine("dgx-h100")
    fit = memory_fit(DEEPSEEK, CATALOG.accelerator_of(machine), CATALOG.runtime("vllm-2026"), layout)
    assert fit.resident_tokens > 100_000
    assert 0 < float(steps(layout).step_time_s(decode_batch(64.0, 2000.0))) < 0.5


def test_tensor_ranks_across_machines_pay_for_the_nics() -> None:
    one, two = steps(wide(tp=8), "gb200-nvl72"), steps(wide(tp=16), "gb200-nvl72")
    near, far = steps(wide(tp=8)), steps(wide(tp=16, machines=2))
    batch = prefill_batch(4096.0)
    inside = float(two.step_time_s(batch)) / float(one.step_time_s(batch))
    across = float(far.step_time_s(batch)) / float(near.step_time_s(batch))
    assert inside < across


def test_operators_add_up_to_the_step_with_exchanges() -> None:
    roofline = steps(wide(dp=32, ep=32, machines=4))
    for batch in (prefill_batch(2000.0, 64.0), decode_batch(64.0, 1000.0), decode_batch(8192.0, 1000.0)):
        total = sum(float(o.time_s) for o in roofline.operators(batch))
        assert total == pytest.approx(float(roofline.step_time_s(batch)))
