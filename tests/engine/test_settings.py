"""Server settings: defaults by accelerator, what a scenario changes, the engine's KV precision, slower servers."""

from __future__ import annotations

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.engine.settings import kv_precision, sequence_limit, settings_text, token_budget, with_settings
from planner.planning.evaluate import members_and_routes, read_cluster
from planner.scenario.resolve import resolve
from planner.scenario.scenario import Scenario

CATALOG = Catalog.default()
VLLM = CATALOG.runtime("vllm-2026")


def lane_of(**fields: object):  # type: ignore[no-untyped-def]
    problem = resolve(Scenario(model="llama-3.1-8b", **fields), CATALOG)  # type: ignore[arg-type]
    cluster = read_cluster([{"role": "mixed", "machine": "dgx-h100", "count": 1, "tensor_parallel": 1}])
    return members_and_routes(problem, cluster)[0][0].configuration.lane


def test_small_cards_batch_less_as_vllm_does() -> None:
    """vllm/engine/arg_utils.py: 8,192 tokens on H100, else 2,048; 1,024 sequences from 70 GiB on, but not on A100."""
    limits = {name: (sequence_limit(VLLM, a), token_budget(VLLM, a)) for name in ("h100-sxm", "a100-sxm-80gb", "l40s")
              for a in [CATALOG.accelerator(name)]}  # fmt: skip
    assert limits == {"h100-sxm": (1024, 8192), "a100-sxm-80gb": (256, 2048), "l40s": (256, 2048)}


def test_what_is_asked_for_goes_before_the_defaults_on_every_card() -> None:
    asked = with_settings(VLLM, max_batch=300, batched_tokens=4096, chunked=False)
    for name in ("h100-sxm", "a100-sxm-80gb"):
        accelerator = CATALOG.accelerator(name)
        assert (sequence_limit(asked, accelerator), token_budget(asked, accelerator)) == (300, 4096)
    assert asked.batching.prompts == "whole"
    assert "300 sequences and 4,096 tokens a step, whole prompts" in settings_text(asked)


def test_a_scenario_sets_them() -> None:
    lane = lane_of(max_batch=32, batched_tokens=1000, chunked=False)
    assert (lane.max_batch, lane.token_budget, lane.chunked) == (32, 1000, False)
    assert lane_of().chunked


def test_slower_servers_take_longer_by_just_so_much() -> None:
    plain, slow = lane_of(), lane_of(derate=0.8)
    tokens = 1000.0
    assert slow.prefill_time_s(tokens) == pytest.approx(plain.prefill_time_s(tokens) / 0.8)
    assert slow.kv_tokens == plain.kv_tokens


def test_the_kv_cache_of_quantised_weights_is_the_engines() -> None:
    assert kv_precision(VLLM, "fp8", "bf16") == "fp8"
    assert kv_precision(VLLM, None, "bf16") == kv_precision(VLLM, "bf16", "bf16") == "bf16"
    assert kv_precision(CATALOG.runtime("splitwise-2023"), "fp8", "bf16") == "bf16"


def test_even_arrivals_wait_less_than_poisson() -> None:
    from planner.serving.mixed import MixedQueue

    found = {}
    for cv2 in (0.0, 1.0):
        problem = resolve(Scenario(model="llama-3.1-8b", arrival_cv2=cv2), CATALOG)
        assert problem.need.traffic.arrival_cv2 == cv2
        queue = MixedQueue(lane_of(), problem.need.traffic)
        one = queue.stable_rate_per_s(np.ones(1)) * 0.5
        state = queue.state(queue.batch_at(one, np.ones(1)), np.ones(1))
        found[cv2] = float(queue.wait(state, np.ones(1)).probability[0])
    assert found[0.0] <= found[1.0]


def test_a_kv_precision_that_nobody_asked_for_is_said() -> None:
    said = "KV caches are in fp8, as vllm-2026 has them with fp8 weights (--kv-precision)"
    assert said in resolve(Scenario(model="llama-3.1-8b", precision="fp8"), CATALOG).notes
    for asked in ({}, {"precision": "fp8", "kv_precision": "bf16"}, {"precision": "fp8", "runtime": "splitwise-2023"}):
        assert said not in resolve(Scenario(model="llama-3.1-8b", **asked), CATALOG).notes  # type: ignore[arg-type]


def test_budgets_go_by_memory_as_sglang_has_them() -> None:
    """server_args.py, chunked_prefill_size: 4,096 below 60 GiB, 8,192 below 160 GiB, 16,384 from there on."""
    sglang = CATALOG.runtime("sglang-2026")
    budgets = {name: token_budget(sglang, CATALOG.accelerator(name)) for name in ("l40s", "h100-sxm", "b200-sxm")}
    assert budgets == {"l40s": 4096, "h100-sxm": 8192, "b200-sxm": 16384}
    assert "chunked prompts, for which sequences wait, KV memory paged" in settings_text(sglang)
