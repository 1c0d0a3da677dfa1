"""Cached prefixes and several tokens a step: limits, hand-computed values, monotone, and against brute force."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog.catalog import Catalog
from planner.errors import ScenarioError
from planner.latency import StepTimes
from planner.latency.batch import Batch, decode_batch, mixed_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.profile import ProfileLatency
from planner.latency.roofline import RooflineLatency
from planner.latency.shortcuts import (
    Shortcuts,
    ShortenedSteps,
    as_measured,
    draft_share,
    shortened,
    without_cached,
)

CATALOG = Catalog.default()
PROFILE = ProfileLatency(
    np.array([100.0, 1000.0]), np.array([0.02, 0.1]), np.array([1.0, 64.0]), np.array([0.01, 0.04])
)


def roofline(model: str = "llama-3.1-70b", draft_tokens: int = 0, machine: str = "dgx-h100") -> RooflineLatency:
    llm, entry = CATALOG.llm(model), CATALOG.machine(machine)
    layout = Layout(tensor_parallel=8, precision=llm.weight_precision, kv_precision=llm.kv_precision)
    accelerator = CATALOG.accelerator_of(entry)
    return RooflineLatency(llm, entry, accelerator, CATALOG.runtime("vllm-2026"), layout, draft_tokens)


def with_shortcuts(shortcuts: Shortcuts, model: str = "llama-3.1-70b") -> StepTimes:
    return shortened(roofline(model, shortcuts.draft_tokens), shortcuts, CATALOG.llm(model))


STEPS: list[Callable[[], Batch]] = [
    lambda: prefill_batch([1.0, 700.0, 9000.0], [1.0, 3.0, 2.0]),
    lambda: decode_batch([1.0, 32.0, 300.0], 2000.0),
    lambda: mixed_batch([0.0, 500.0, 2000.0], [0.0, 1.0, 2.0], [8.0, 0.0, 40.0], 1500.0),
]


@pytest.mark.parametrize("batch", STEPS)
def test_no_shortcuts_are_exactly_what_was_there_before(batch: Callable[[], Batch]) -> None:
    plain = roofline()
    assert shortened(plain, Shortcuts(), CATALOG.llm("llama-3.1-70b")) is plain
    assert as_measured(plain) is plain
    around = ShortenedSteps(plain, Shortcuts(), 0.05)
    assert np.array_equal(around.step_time_s(batch()), plain.step_time_s(batch()))
    assert without_cached(same := batch(), 0.0) is same


def test_a_cached_prefix_by_hand() -> None:
    """40 of 100 tokens cached: 60 are computed, the first with 41 keys, the last with 100."""
    batch = without_cached(prefill_batch(100.0, 2.0), 0.4)
    assert batch.prompt_tokens == pytest.approx(120)
    assert batch.attention_pairs == pytest.approx(2 * sum(range(41, 101)))
    assert batch.n_prompts == 2


@settings(deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6), st.floats(0.0, 0.95))
def test_prompts_of_several_sizes_against_counting_each(sizes: list[int], cached: float) -> None:
    sizes = [s for s in sizes if (1 - cached) * s >= 1] or [100]
    each = [without_cached(prefill_batch(float(s)), cached) for s in sizes]
    s = np.array(sizes, dtype=float)
    none = np.zeros(())
    together = without_cached(Batch(s.sum(), (s * (s + 1) / 2).sum(), np.array(float(s.size)), none, none), cached)
    assert together.prompt_tokens == pytest.approx(sum(float(b.prompt_tokens) for b in each))
    assert together.attention_pairs == pytest.approx(sum(float(b.attention_pairs) for b in each))
    exact = sum((1 - cached) * n * (cached * n + ((1 - cached) * n + 1) / 2) for n in sizes)
    assert together.attention_pairs == pytest.approx(exact)


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    batch = without_cached(prefill_batch(500.0, 3.0), 0.9999)
    assert batch.prompt_tokens == pytest.approx(3)
    assert batch.attention_pairs == pytest.approx(3 * 500)


def test_more_cached_is_never_slower() -> None:
    shares = [0.0, 0.1, 0.366, 0.6, 0.9, 0.999]
    for model in ("llama-3.1-70b", "deepseek-v3", "gpt-oss-120b"):
        for batch in STEPS:
            times = [with_shortcuts(Shortcuts(h), model).step_time_s(batch()) for h in shares]
            assert all(np.all(b <= a * (1 + 1e-12)) for a, b in pairwise(times))


def test_cached_prompts_do_not_change_decode_steps() -> None:
    batch = decode_batch([1.0, 64.0], 3000.0)
    assert np.array_equal(with_shortcuts(Shortcuts(0.5)).step_time_s(batch), roofline().step_time_s(batch))


def test_verified_tokens_are_rows_of_every_product_but_read_the_context_once() -> None:
    plain, verifying = roofline(), roofline(draft_tokens=3)
    costs = {c.name: c for c in plain.operators(decode_batch(10.0, 2000.0))}
    found = {c.name: c for c in verifying.operators(decode_batch(10.0, 2000.0))}
    for name in ("qkv", "out-projection", "mlp", "lm-head", "attention-decode"):
        assert found[name].flop == pytest.approx(4 * costs[name].flop)
    assert found["attention-decode"].bytes == pytest.approx(costs["attention-decode"].bytes)
    # A row costs what the weights do not: activations.
    rows = {c.name: c for c in plain.operators(decode_batch(40.0, 500.0))}
    for name in ("qkv", "mlp", "elementwise", "all-reduce"):
        assert found[name].bytes == pytest.approx(rows[name].bytes)
        assert found[name].time_s == pytest.approx(rows[name].time_s)


def test_prompts_alone_do_not_know_of_drafts() -> None:
    batch = prefill_batch([10.0, 3000.0])
    drafts = Shortcuts(tokens_per_step=2.0, draft_tokens=2)
    assert with_shortcuts(drafts).step_time_s(batch) == pytest.approx(roofline().step_time_s(batch))


def test_time_of_a_token_by_hand() -> None:
    """(3): a step that verifies and drafts, over the tokens it yields."""
    shortcuts = Shortcuts(tokens_per_step=1.6, draft_tokens=2)
    batch = decode_batch([1.0, 50.0], 1000.0)
    share = draft_share(CATALOG.llm("llama-3.1-70b"))
    whole = roofline(draft_tokens=2).step_time_s(batch)
    assert with_shortcuts(shortcuts).step_time_s(batch) == pytest.approx(whole * (1 + 2 * share) / 1.6)


def test_a_mixed_step_and_the_tokens_it_yields_take_the_time_they_take() -> None:
    """(4): with y tokens a step, one token in the step of the prompts and y - 1 in steps without."""
    y = 2.5
    lane = with_shortcuts(Shortcuts(tokens_per_step=y, draft_tokens=3))
    mixed, alone = mixed_batch(800.0, 1.0, 20.0, 1000.0), decode_batch(20.0, 1000.0)
    verifying = roofline(draft_tokens=3)
    drafting = 3 * draft_share(CATALOG.llm("llama-3.1-70b")) * verifying.step_time_s(alone)
    spent = lane.step_time_s(mixed) + (y - 1) * lane.step_time_s(alone)
    assert spent == pytest.approx(verifying.step_time_s(mixed) + drafting)
    assert lane.step_time_s(mixed) > lane.step_time_s(alone)


def test_more_accepted_is_faster_and_more_verified_is_slower() -> None:
    batch = decode_batch([1.0, 64.0, 400.0], 2000.0)
    for model in ("llama-3.1-70b", "deepseek-v3"):
        accepted = [with_shortcuts(Shortcuts(0.0, y, 3), model).step_time_s(batch) for y in (1.0, 1.5, 2.5, 4.0)]
        assert all(np.all(b < a) for a, b in pairwise(accepted))
        verified = [with_shortcuts(Shortcuts(0.0, 1.0, k), model).step_time_s(batch) for k in (0, 1, 2, 5)]
        assert all(np.all(b > a) for a, b in pairwise(verified))


def test_speculation_pays_while_memory_binds_and_not_once_compute_does() -> None:
    shortcuts = Shortcuts(tokens_per_step=2.5, draft_tokens=3)
    few, many = decode_batch(1.0, 500.0), decode_batch(2000.0, 50.0)
    assert with_shortcuts(shortcuts).step_time_s(few) < 0.6 * roofline().step_time_s(few)
    assert with_shortcuts(shortcuts).step_time_s(many) > 0.9 * roofline().step_time_s(many)


def test_the_draft_module_is_one_layer_and_the_head() -> None:
    """Llama-3.1-70B: a layer of 0.856 B and the head of 1.05 B among 69.5 B weights."""
    assert draft_share(CATALOG.llm("llama-3.1-70b")) == pytest.approx((0.856 + 1.051) / 69.5, rel=0.01)


def test_a_table_is_looked_up_at_the_batch_verified() -> None:
    llm = CATALOG.llm("llama-3.1-70b")
    lane = shortened(PROFILE, Shortcuts(tokens_per_step=2.0, draft_tokens=1), llm, rows=2)
    expected = PROFILE.step_time_s(decode_batch(20.0, 1.0)) * (1 + draft_share(llm)) / 2.0
    assert lane.step_time_s(decode_batch(10.0, 1.0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ((1.0, 1.0, 0), "prefix_cached"), ((-0.1, 1.0, 0), "prefix_cached"), ((float("nan"), 1.0, 0), "prefix_cached"),
        ((0.0, 1.5, 0), "tokens_per_step"), ((0.0, 3.5, 2), "tokens_per_step"), ((0.0, 0.5, 2), "tokens_per_step"),
        ((0.0, 1.0, -1), "draft_tokens"),
    ],
)  # fmt: skip
def test_impossible_shortcuts_are_refused(wrong: tuple[float, float, int], where: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        Shortcuts(*wrong)
    assert raised.value.where == where
