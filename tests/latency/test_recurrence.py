"""Layers with a constant state: by hand, against measured kernels, and as properties."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.layers import LinearAttention, Mamba
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.recurrence import scan_of
from planner.latency.roofline import RooflineLatency
from planner.latency.sequences import layer_state_bytes

ROOT = Path(__file__).parents[2]
KERNELS = ROOT.parent / "shared" / "data" / "kernels" / "gdn.csv"
CATALOG = Catalog.default()
DELTA = LinearAttention(
    type="gated-delta", n_heads=32, n_key_heads=16, key_head_dim=128, value_head_dim=128, conv_kernel=4
)


def steps(model: str, tp: int = 1) -> RooflineLatency:
    machine = CATALOG.machine("dgx-h200")
    layout = Layout(tensor_parallel=tp, precision="bf16", kv_precision="bf16")
    accelerator = CATALOG.accelerator_of(machine)
    return RooflineLatency(CATALOG.llm(model), machine, accelerator, CATALOG.runtime("vllm-2026"), layout)


def test_state_and_its_update_by_hand() -> None:
    """Qwen3.5-35B-A3B: 32 heads of 128 x 128 in 32 bits, and three inputs of 8,192 channels in 16 bits."""
    state = 32 * 128 * 128 * 4 + 3 * 8192 * 2
    assert layer_state_bytes(DELTA, 2048) == state
    scan = scan_of(DELTA, 2048, 1)
    inputs = 2 * 2 * (2 * 16 * 128 + 2 * 32 * 128)
    assert scan.bytes_per_update == 2 * state + inputs
    assert scan.flop_per_update == 2 * 3 * 32 * 128 * 128
    assert scan.chunks_per_token == 1 / 64


def test_ranks_divide_a_recurrence() -> None:
    one, four = scan_of(DELTA, 2048, 1), scan_of(DELTA, 2048, 4)
    assert four.bytes_per_update == pytest.approx(one.bytes_per_update / 4)
    assert four.flop_per_prompt_token == pytest.approx(one.flop_per_prompt_token / 4)


def test_mamba_keeps_a_state_for_each_channel() -> None:
    """Nemotron 3 Nano: 64 heads of 64 channels with 128 numbers each, and three inputs of 6,144 channels."""
    mamba = Mamba(type="mamba2", n_heads=64, head_dim=64, state_size=128, n_groups=8, conv_kernel=4)
    assert layer_state_bytes(mamba, 2688) == 4096 * 128 * 4 + 3 * 6144 * 2


def test_a_recurrence_does_not_grow_with_the_context() -> None:
    roofline = steps("qwen3.5-27b", tp=2)
    short, long = ({o.name: o for o in roofline.operators(decode_batch(32.0, c))} for c in (100.0, 100_000.0))
    assert float(short["recurrence"].time_s) == float(long["recurrence"].time_s) > 0
    assert float(long["attention-decode"].time_s) > 100 * float(short["attention-decode"].time_s)


def test_prompts_side_by_side_are_faster_than_one_of_their_length() -> None:
    """The chunks of one prompt follow each other; those of several run together."""
    roofline = steps("qwen3.5-27b", tp=2)
    one, many = (
        {o.name: o for o in roofline.operators(prefill_batch(s, n))} for s, n in ((8192.0, 1.0), (512.0, 16.0))
    )
    assert float(many["recurrence"].time_s) < float(one["recurrence"].time_s)


@pytest.mark.skipif(not KERNELS.is_file(), reason="../shared/data/kernels is not there")
def test_fits_of_gated_delta_rules_hold_for_a_model_left_out() -> None:
    """Of every engine, accelerator and phase that has both kernels; four numbers each."""
    found = runpy.run_path(str(ROOT / "benchmarks" / "recurrent_kernels.py"))["fits"](KERNELS)
    assert len(found) >= 12
    assert np.median([fit.median_error_left_out for fit in found]) < 0.10
    assert all(fit.median_error_left_out < 0.20 for fit in found)
    assert all(len(fit.coefficients) <= 4 for fit in found)
    on_h100 = [fit for fit in found if fit.group[0] == "h100-sxm"]
    efficiency = CATALOG.runtime("vllm-2026").efficiency(CATALOG.accelerator("h100-sxm"))
    updates = [fit.coefficients[1] for fit in on_h100 if fit.group[2] == "generation"]
    assert np.median(updates) == pytest.approx(1 / efficiency.state_update, rel=0.25)
    chunks = [fit.coefficients[3] for fit in on_h100 if fit.group[2] == "context"]
    assert np.median(chunks) == pytest.approx(efficiency.recurrence_chunk_s, rel=0.25)
