"""Loads in people's words, against the figures that they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.errors import InputError, ScenarioError, UnitError
from planner.workload.rates import is_token_rate, read_token_rate
from planner.workload.sizes import RequestSizes
from planner.workload.spec_file import read_spec
from planner.workload.stated import read_tokens, sizes_from, with_side


def sizes(prompt: str, output: str = "300") -> RequestSizes:
    return sizes_from(read_tokens(prompt, where="isl"), read_tokens(output, where="osl"), "stated")


def spread(s: RequestSizes) -> float:
    return float(np.sqrt(s.weight @ (s.prompt_tokens - s.mean_prompt_tokens) ** 2))


def test_fixed_sizes_are_one_point() -> None:
    for text in ("3000", "3k", "3,000", "3e3", "3000 tokens", "3k tok"):
        found = sizes(text)
        assert (found.n_points, found.mean_prompt_tokens, found.mean_output_tokens) == (1, 3000, 300)


@pytest.mark.parametrize(
    ("text", "mean", "sd"),
    [("3000+-500", 3000, 500), ("3000 ± 500", 3000, 500), ("3000+/-50%", 3000, 1500), ("200+-300", 200, 300)],
)
def test_mean_and_standard_deviation(text: str, mean: float, sd: float) -> None:
    found = sizes(text)
    assert found.mean_prompt_tokens == pytest.approx(mean, rel=2e-3)
    assert spread(found) == pytest.approx(sd, rel=0.04)
    assert found.prompt_tokens.min() >= 1


def test_a_range_is_uniform() -> None:
    found = sizes("100..4000")
    assert found.mean_prompt_tokens == pytest.approx(2050, rel=2e-3)
    assert spread(found) == pytest.approx(3900 / 12**0.5, rel=0.01)


def test_quantiles_are_kept() -> None:
    found = sizes("p50=1020, p90=2734, p99=4142, max=14050")
    assert [found.quantile("prompt", p) for p in (0.5, 0.9, 0.99)] == pytest.approx([1020, 2734, 4142], rel=0.01)
    assert found.prompt_tokens.max() <= 14050
    two = sizes("p10=100,p90=1000")
    # Lognormal between: the median is the geometric mean.
    assert two.quantile("prompt", 0.5) == pytest.approx(1e5**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        ("many", "not a count", "3000+-500"),
        ("1,5k", "decimal comma", "write 1.5k"),
        ("1.024", "may part thousands", "write 1024"),
        ("p50=1.020,p90=2734", "may part thousands", "write 1020"),
        ("0", "not a number of tokens", "3000"),
        ("-5", "not a number of tokens", "3000"),
        ("4000..100", "backwards", "smaller end"),
        ("3000+--5", "not negative", "3000"),
        ("p50=1000", "one quantile", "p90"),
        ("p50=1000,p90=500", "quantiles fall", "p90"),
        ("p50=1000,p50=2000", "given twice", "p90"),
        ("p150=1000,p50=2000", "out of range", "p90"),
        ("p50=1000,q=3", "not a quantile", "p90"),
        ("p50=1000,p90=2000,max=100", "outside", "p90"),
        ("1e12", "not a number of tokens", "3000"),
    ],
)
def test_what_is_no_size_is_refused_with_examples(text: str, words: str, fix: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_tokens(text, where="--isl")
    assert caught.value.where == "--isl"
    assert fix in str(caught.value.fix)


def test_one_side_of_a_workload_is_replaced_and_the_other_kept() -> None:
    rng = np.random.default_rng(1)
    own = RequestSizes.equally_weighted(rng.integers(1, 4000, 5000), rng.integers(1, 900, 5000), "own")
    found = with_side(own, "prompt", read_tokens("3000+-300", where="isl"), "new")
    assert found.mean_prompt_tokens == pytest.approx(3000, rel=2e-3)
    assert found.mean_output_tokens == pytest.approx(own.mean_output_tokens, rel=1e-6)
    assert found.quantile("output", 0.9) == pytest.approx(own.quantile("output", 0.9), rel=0.02)
    other = with_side(own, "output", read_tokens("300", where="osl"), "new")
    assert other.mean_prompt_tokens == pytest.approx(own.mean_prompt_tokens, rel=1e-6)
    assert set(other.output_tokens.tolist()) == {300.0}


@pytest.mark.parametrize(
    ("text", "rate", "side"),
    [
        ("5000 output tokens/s", 5000, "output"),
        ("20k output tokens/s", 20e3, "output"),
        ("1.2M input tokens per min", 20e3, "prompt"),
        ("5000 tokens/s out", 5000, "output"),
        ("6000 total tok/s", 6000, "total"),
        ("3,600 output-tokens/h", 1, "output"),
        ("800 output tps", 800, "output"),
    ],
)
def test_rates_of_tokens(text: str, rate: float, side: str) -> None:
    assert is_token_rate(text)
    found = read_token_rate(text, where="--rate")
    assert found == (pytest.approx(rate), side)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5000 tokens/s", "go in, or come out"),
        ("5000 input output tokens/s", "not a rate of tokens"),
        ("5000 output tokens", "needs its time"),
        ("5000 output tokens/fortnight", "needs its time"),
        ("5,5 output tokens/s", "decimal comma"),
        ("many output tokens/s", "not a rate of tokens"),
    ],
)
def test_what_is_no_rate_of_tokens(text: str, words: str) -> None:
    with pytest.raises(UnitError, match=words) as caught:
        read_token_rate(text, where="--rate")
    assert caught.value.fix


SPEC = """\
load:
  type: constant
  stages:
  - {rate: 2, duration: 60}
  - {rate: 8, duration: 60}
data:
  type: random
  input_distribution: {min: 10, max: 1024, mean: 512, std_dev: 100, total_count: 1000}
  output_distribution: {min: 1, max: 200, mean: 100}
"""


def test_the_configuration_of_a_load_generator(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(SPEC)
    found = read_spec(path)
    assert found.rate_per_s == 8
    assert found.sizes.mean_prompt_tokens == pytest.approx(512, rel=0.01)
    assert spread(found.sizes) == pytest.approx(100, rel=0.02)
    assert set(found.sizes.output_tokens.tolist()) == {100.0}
    assert found.arrival_cv2 == 1e-3
    assert "2 stages" in found.notes[0]
    path.write_text("data:\n  input_distribution: {std_dev: 4}\n  output_distribution: {mean: 100}\n")
    with pytest.raises(ScenarioError, match="without its mean") as caught:
        read_spec(path)
    assert caught.value.where == f"{path}:2"
    path.write_text("rate: 5/s\n")
    with pytest.raises(ScenarioError, match="no input_distribution") as caught:
        read_spec(path)
    assert "--isl" in str(caught.value.fix)
