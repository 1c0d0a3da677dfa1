"""Prefixes that caches keep, by machine and layout: against a cache played by hand."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.scenario.resolve import Problem, configurations, resolve
from planner.scenario.scenario_file import load_scenario

CATALOG = Catalog.default()
BLOCK = 512
SESSIONS, PROMPT_BLOCKS, ROUNDS = 400, 8, 6  # 1.6 million tokens, each session back after all the others


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions that come back in turns, each with its own prompt: a cache keeps all of them, or by recency none."""
    path = tmp_path_factory.mktemp("prefixes") / "turns.jsonl"
    rng = np.random.default_rng(1)
    at_ms, lines = 0, []
    for n in range(SESSIONS * ROUNDS):
        at_ms += 1 + int(rng.exponential(500.0))
        session = n % SESSIONS
        ids = [session * PROMPT_BLOCKS + b for b in range(PROMPT_BLOCKS)]
        lines.append({"timestamp": at_ms, "input_length": PROMPT_BLOCKS * BLOCK, "output_length": 50, "hash_ids": ids})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def posed(trace: Path, *machines: str, **fields: Any) -> Problem:
    asked = {"workload": str(trace), "model": "llama-3.1-8b", "machines": machines, "objective": "power"}
    return resolve(load_scenario({}, **asked | fields), CATALOG)


def shares(problem: Problem) -> dict[tuple[str, str], float]:
    return {(name, layout.label): share for (name, layout), share in problem.serving.prefix_shares.items()}


def kept_by_hand(n_blocks: int) -> float:
    """Hits of a least-recently-used cache of so many blocks, all of a prompt read first to last, then touched."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for n in range(SESSIONS * ROUNDS):
        ids = [n % SESSIONS * PROMPT_BLOCKS + b for b in range(PROMPT_BLOCKS)]
        for i in ids:
            if i not in kept:
                break
            hits += 1
        for i in reversed(ids):
            kept[i] = None
            kept.move_to_end(i)
            while len(kept) > n_blocks:
                kept.popitem(last=False)
    return hits / (SESSIONS * ROUNDS * PROMPT_BLOCKS)


def test_each_machine_has_the_share_that_its_own_memory_keeps(trace: Path) -> None:
    problem = posed(trace, "lambda-1x-a10", "dgx-h200")
    found = shares(problem)
    room = {
        (c.machine.name, c.layout.label): c.lane.kv_tokens * c.layout.lanes_per_machine / 2
        for c in configurations(problem)[0]
    }
    assert set(found) == set(room) and len(found) > 1
    working_set = SESSIONS * PROMPT_BLOCKS * BLOCK
    sure = {key: tokens for key, tokens in room.items() if not working_set / 4.0 < tokens < 2.0 * working_set}
    assert {found[key] > 0 for key in sure} == {False, True}
    for key, tokens in sure.items():
        assert found[key] == pytest.approx(kept_by_hand(int(tokens) // BLOCK), abs=1e-9)
        assert found[key] == pytest.approx((ROUNDS - 1) / ROUNDS if tokens > working_set else 0.0)


def test_a_small_machine_beside_it_takes_nothing_of_a_large_ones_cache(trace: Path) -> None:
    alone, beside = shares(posed(trace, "dgx-h200")), shares(posed(trace, "dgx-h200", "lambda-1x-a10"))
    assert all(beside[key] == share for key, share in alone.items())
    assert max(alone.values()) > 0.5


def test_a_share_that_is_stated_goes_before_what_fits(trace: Path) -> None:
    problem = posed(trace, "dgx-h200", prefix_cached=0.25)
    assert not shares(problem) and problem.serving.shortcuts.prefix_cached == 0.25


def test_more_requests_take_more_machines_and_keep_no_less(trace: Path) -> None:
    few, many = (shares(posed(trace, "lambda-1x-a100-40", rate=rate)) for rate in ("1/s", "1000/s"))
    assert all(many[key] >= few[key] for key in few)
    assert max(many.values()) > max(few.values())
