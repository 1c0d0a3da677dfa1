"""Loads of fleets in people's words: the same as in a scenario, and refused for the same reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.errors import InputError
from planner.portfolio.fleet_file import load_fleet
from planner.portfolio.fleet_rates import at_rates, workload_problem
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario

COMMON = {"model": "llama-3.1-8b", "machines": ["dgx-h100"]}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten minutes, of which the last has twice as many requests."""
    rng = np.random.default_rng(2)
    arrival = np.concatenate([60 * i + np.sort(rng.random(n)) * 60 for i, n in enumerate([60] * 9 + [120])])
    path = tmp_path_factory.mktemp("t") / "t.csv"
    rows = "".join(f"{t:.3f},{500 + 7 * (i % 90)},{20 + i % 200}\n" for i, t in enumerate(arrival))
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    return str(path)


@pytest.mark.parametrize(
    "words",
    [
        {"rate": "600/min", "isl": 1000, "osl": 300},
        {"rate": "3000 output tokens/s", "isl": "1000+-200", "osl": "100..300"},
        {"rate": "1.2M input tokens per min", "isl": "p50=1020,p90=2734", "osl": "300"},
        {"users": 500, "think_time": "20s", "isl": 1000, "osl": 300},
        {"concurrency": 64, "isl": 1000, "osl": 300},
        {"rate": "5/s", "workload": "azure-conv-2023", "osl": 100},
        {"rate": "36k total tokens/s", "workload": "azure-code-2023"},
    ],
    ids=str,
)
def test_a_fleet_takes_the_words_of_a_scenario(catalog: Catalog, words: dict[str, Any]) -> None:
    alone = resolve(load_scenario({**COMMON, **words}), catalog)
    fleet, notes = at_rates(load_fleet({**COMMON, "workloads": {"chat": words}}), catalog)
    assert fleet.workloads["chat"].rate_per_s == pytest.approx(alone.need.rate_per_s)
    problem = workload_problem(fleet, "chat", catalog)
    assert problem.need.rate_per_s == pytest.approx(alone.need.rate_per_s)
    assert problem.sizes.mean_prompt_tokens == alone.sizes.mean_prompt_tokens
    assert problem.sizes.mean_output_tokens == alone.sizes.mean_output_tokens
    assert any("requests/s" in note for note in notes) == ("rate" not in words or "tokens" in words["rate"])


def test_a_trace_gives_a_fleet_its_rate_and_level(catalog: Catalog, trace: str) -> None:
    for size_for in ("mean", "peak-minute"):
        words = {"workload": trace, "size_for": size_for}
        alone = resolve(load_scenario({**COMMON, **words}), catalog)
        fleet, notes = at_rates(load_fleet({**COMMON, "workloads": {"chat": words}}), catalog)
        problem = workload_problem(fleet, "chat", catalog)
        assert problem.need.rate_per_s == pytest.approx(alone.need.rate_per_s)
        assert problem.need.traffic.arrival_cv2 == pytest.approx(alone.need.traffic.arrival_cv2)
        assert "the rate of 1.104 requests/s is that of t.csv itself" in notes


def test_sizes_in_words_under_the_names_of_whole_numbers(catalog: Catalog) -> None:
    own = {"rate": "5/s", "prompt_tokens": "1000+-200", "output_tokens": 300}
    fleet = load_fleet({**COMMON, "workloads": {"chat": own}})
    assert (fleet.workloads["chat"].isl, fleet.workloads["chat"].osl) == ("1000+-200", 300)


def test_machines_that_nobody_named_are_said(catalog: Catalog) -> None:
    own = {"rate": "5/s", "isl": 1000, "osl": 300}
    _, notes = at_rates(load_fleet({"workloads": {"chat": own}}), catalog)
    assert notes[0].startswith("dgx-a100 and dgx-h100 are considered, as none is named (`machines: current`")
    assert not at_rates(load_fleet({**COMMON, "workloads": {"chat": own}}), catalog)[1]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"users": 500}, "users need their think time"),
        ({"users": 0, "think_time": "5s"}, "0 users send nothing"),
        ({"users": 5, "think_time": "-5s"}, "greater than or equal to 0"),
        ({"users": 5, "concurrency": 3, "think_time": "5s"}, "two loads"),
        ({"rate": "5/s", "concurrency": 3}, "two loads"),
        ({"rate": "5/s", "think_time": "5s"}, "a think time is that of users"),
        ({"think_time": "5s", "think_time_s": 5, "users": 3}, "given twice"),
        ({"rate": "5000 tokens/s"}, "go in, or come out"),
        ({"rate": "1,5/s"}, "decimal comma"),
        ({"rate": "5/s", "isl": "1,5k"}, "decimal comma"),
        ({"rate": "5/s", "isl": "4000..100"}, "backwards"),
        ({}, "give either a rate"),
        ({"rate": "5/s", "prompt_tokens": 5, "output_tokens": 5}, "give either a workload"),
    ],
    ids=str,
)
def test_loads_that_cannot_be(own: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_fleet({**COMMON, "workloads": {"chat": {"isl": 1000, "osl": 300, **own}}})


def test_one_side_needs_a_workload_for_the_other(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("workloads:\n  chat: {rate: 5/s, isl: 1000}\n")
    with pytest.raises(InputError, match="give either a workload") as caught:
        load_fleet(path)
    assert caught.value.where == f"{path}:2"
