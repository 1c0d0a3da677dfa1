"""How much comes: as asked, else as the file says, else by default; and what was assumed is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.errors import InputError, ScenarioError
from planner.scenario.load import Load, load_of
from planner.scenario.resolve import resolve
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import at_rate, load_scenario

CATALOG = Catalog()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes at 2/s, of which the seventh has twice as many."""
    rng = np.random.default_rng(11)
    counts = [120] * 10
    counts[6] = 240
    arrival = np.concatenate([60 * i + np.sort(rng.random(n)) * 60 for i, n in enumerate(counts)])
    rows = [f"{t:.4f},{100 + i % 900},{10 + i % 90}" for i, t in enumerate([*arrival, 600.5])]
    path = tmp_path_factory.mktemp("load") / "mine.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    return path


def load(**fields: Any) -> Load:
    return load_of(load_scenario({}, **fields), CATALOG)


def said(found: Load) -> str:
    return "; ".join(found.notes)


def test_a_trace_means_its_trace(trace: Path) -> None:
    found = load(workload=str(trace))
    assert found.rate_per_s == pytest.approx(1320 / 600, rel=0.01)
    assert found.words == "its own rate"
    assert "is that of mine.csv itself" in said(found)
    # Poisson but for the busy minute, which is said and not planned for.
    assert 1.0 <= found.arrival_cv2 < 1.3
    assert "the busiest minute of the trace has 1.79 x it" in said(found)


def test_what_is_asked_goes_before_what_the_trace_says(trace: Path) -> None:
    found = load(workload=str(trace), rate="70/s")
    assert (found.rate_per_s, found.arrival_cv2, found.words) == (70, 1.0, "")
    assert "its arrivals are replaced by Poisson arrivals" in said(found)
    assert load(workload=str(trace), arrival_cv2=3).arrival_cv2 == 3
    assert load(workload=str(trace), isl="3000", osl="300").sizes.mean_prompt_tokens == 3000


def test_a_level_of_the_trace(trace: Path) -> None:
    mean = load(workload=str(trace)).rate_per_s
    peak = load(workload=str(trace), size_for="peak-minute")
    assert peak.rate_per_s == pytest.approx(1.8 * mean, rel=0.02)
    assert "its busiest minute" in peak.words
    assert peak.arrival_cv2 == 1.0  # within its minutes it is a Poisson process
    # Resolved, the scenario says the same in a rate: asked again, it is not multiplied again.
    problem = resolve(load_scenario({}, workload=str(trace), size_for="peak-minute"), CATALOG)
    again = resolve(problem.scenario, CATALOG)
    assert again.need.rate_per_s == problem.need.rate_per_s == pytest.approx(peak.rate_per_s)
    assert again.need.traffic.arrival_cv2 == problem.need.traffic.arrival_cv2
    with pytest.raises(ScenarioError, match="no minutes to size for"):
        load(size_for="peak-minute")


def test_nothing_said_is_assumed_and_that_is_said() -> None:
    found = load()
    assert (found.rate_per_s, found.words) == (70, "assumed")
    assert "70 requests/s is assumed" in said(found)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("3.4/s", 3.4),
        ("120/min", 2.0),
        ("7200/h", 2.0),
        ("2 rps", 2.0),
        ("1M/day", 1e6 / 86400),
        ("90 requests/minute", 1.5),
    ],
)
def test_rates_in_any_time(rate: str, expected: float) -> None:
    assert load(rate=rate).rate_per_s == pytest.approx(expected)


def test_rates_of_tokens_in_code_and_files(tmp_path: Path) -> None:
    assert load(rate="6000 output tokens/s", isl=3000, osl=300).rate_per_s == pytest.approx(20)
    assert load(rate="33k total tokens/s", isl=3000, osl=300).rate_per_s == pytest.approx(10)
    file = tmp_path / "s.yaml"
    file.write_text("rate: 6000 output tokens/s\nisl: 3000\nosl: 300+-50\nthink_time: 20s\nusers: 5\n")
    with pytest.raises(ScenarioError, match="two loads"):
        load_scenario(file)
    file.write_text("isl: 3000\nosl: 300+-50\nthink_time: 20s\nusers: 5\n")
    scenario = load_scenario(file)
    assert (scenario.users, scenario.think_time_s) == (5, 20)
    # What is given anew takes its place, in whichever words.
    asked = load_scenario(scenario, rate="3/s")
    assert (asked.users, asked.think_time_s, asked.rate_per_s) == (None, None, 3)


def test_a_day_is_planned_for_its_busiest_hour() -> None:
    flat = load(rate="864000/day", day="flat")
    assert flat.rate_per_s == pytest.approx(10)
    hours = [1.0] * 23 + [25.0]
    found = load(rate="864000/day", day=hours)
    assert found.rate_per_s == pytest.approx(10 * 24 * 25 / 48)
    assert "busiest hour" in found.words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"users": 0, "think_time": "20s"}, "0 users send nothing; write 1 or more"),
        ({"concurrency": 0}, "send nothing"),
        ({"users": 5, "think_time": "-1s"}, "less than no time; write 0s"),
        ({"users": 5}, "need their think time: --think-time 20s"),
        ({"think_time": "5s"}, "is that of users"),
        ({"users": 5, "think_time": "5s", "concurrency": 5}, "are two loads"),
        ({"day": "office"}, "a day needs the rate that is its mean"),
        ({"day": "office", "concurrency": 5}, "goes with a rate"),
        ({"rate": "1/s", "day": "1,2,3"}, "24 hours"),
        ({"rate": "1/s", "day": ",".join(["0"] * 24)}, "nothing comes on this day"),
        ({"rate": "6000 tokens/s"}, "go in, or come out"),
        ({"isl": "p50=3"}, "one quantile tells no distribution"),
        ({"drop_failed": True}, "failed requests are those of a trace file"),
        ({"workload": "no-such-workload"}, "unknown workload"),
    ],
)
def test_loads_that_cannot_be(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(**fields)
    assert words in str(caught.value)


def test_a_plan_of_users_is_judged_at_its_rate() -> None:
    scenario = Scenario(users=5, think_time_s=20.0)
    assert at_rate(scenario.dump(), 3.0)["rate_per_s"] == 3.0
    assert load_scenario(at_rate(scenario.dump(), 3.0)).users is None


def test_users_never_send_more_than_an_idle_machine_could_answer() -> None:
    fields = {"isl": 1000, "osl": 300, "machines": ("dgx-h100",)}
    users = resolve(load_scenario({}, users=500, think_time="20s", **fields), CATALOG)
    assert users.rate_words == "500 users who think 20.0 s"
    assert 500 / 26 < users.need.rate_per_s < 500 / 20
    at_once = resolve(load_scenario({}, concurrency=64, **fields), CATALOG)
    answer_s = 64 / at_once.need.rate_per_s
    assert answer_s == pytest.approx(500 / users.need.rate_per_s - 20, rel=1e-6)


def test_prefixes_shrink_with_the_cache_that_fits(tmp_path: Path) -> None:
    """Two prompts of 2000 blocks in turn: a cache for both has all of them, one for either has none."""
    blocks = {0: list(range(4000)), 1: list(range(10_000, 14_000))}
    path = tmp_path / "m.jsonl"
    path.write_text("".join(
        json.dumps({"timestamp": 1000 * i, "input_length": 4000 * 512, "output_length": 5, "hash_ids": blocks[i % 2]})
        + "\n" for i in range(40)
    ))  # fmt: skip
    found = load(workload=str(path))
    assert found.blocks is not None
    assert found.blocks.share(found.prompt_tokens) == pytest.approx(38 / 40)
    assert found.blocks.share(found.prompt_tokens, 4.2e6) == pytest.approx(38 / 40)
    assert found.blocks.share(found.prompt_tokens, 3e6) < 0.6


def test_the_log_of_3_4_requests() -> None:
    log = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mooncake_conversation.jsonl"
    if not log.exists():
        pytest.skip(f"{log} is not there")
    scenario = load_scenario(
        {}, workload=str(log), model="llama-3.3-70b", precision="fp8",
        machines=("dgx-h100", "hyperstack-8x-b200"), slo=("ttft.p95=5s", "tpot.p95=50ms"),
    )  # fmt: skip
    problem = resolve(scenario, CATALOG)
    assert problem.need.rate_per_s == pytest.approx(3.40, abs=0.01)
    assert problem.rate_words == "its own rate"
    # Of 41,000 prompt tokens a second, half of the memory of one DGX H100 keeps 18 seconds.
    shares = problem.serving.prefix_shares
    assert {name for name, _ in shares} == {"dgx-h100", "hyperstack-8x-b200"}
    assert all(0.03 < share < 0.366 for share in shares.values())
    assert any("a cache that forgets none has 36.6 %" in note for note in problem.notes)
