"""RequestSizes: validation, means, quantiles, compression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import ScenarioError
from planner.workload.sizes import RequestSizes


@st.composite
def request_sizes(draw: st.DrawFn) -> RequestSizes:
    tokens = st.integers(1, 4) | st.integers(1, 100_000)
    rows = draw(st.lists(st.tuples(tokens, tokens, st.floats(0.01, 1)), min_size=1, max_size=300))
    prompt, output, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return RequestSizes(prompt, output, weight / weight.sum(), "drawn")


def log_normal_sizes(n: int = 20_000) -> RequestSizes:
    generator = np.random.default_rng(7)
    z = generator.standard_normal((2, n))
    prompt = np.rint(np.maximum(np.exp(7 + z[0]), 1))
    output = np.rint(np.maximum(np.exp(5 + 0.9 * (0.5 * z[0] + 0.75**0.5 * z[1])), 1))
    return RequestSizes.equally_weighted(prompt, output, "log-normal")


def test_arrays_are_copied_and_read_only() -> None:
    prompt = np.array([10.0, 20.0])
    sizes = RequestSizes(prompt, np.array([1, 2]), np.array([0.25, 0.75]), "two")
    prompt[0] = 99
    assert sizes.prompt_tokens.tolist() == [10, 20]
    with pytest.raises(ValueError, match="read-only"):
        sizes.weight[0] = 0.5
    assert sizes.mean_prompt_tokens == 17.5
    assert sizes.mean_output_tokens == 1.75
    assert sizes.mean_decode_steps == 0.75


@pytest.mark.parametrize(
    ("prompt", "output", "weight", "what"),
    [
        ([0.5], [1], [1], "prompt_tokens[0] is not a number of tokens"),
        ([1, 2], [1, np.nan], [0.5, 0.5], "output_tokens[1] is not a number of tokens"),
        ([np.inf], [1], [1], "prompt_tokens[0] is not a number of tokens"),
        ([1, 1], [1, 1], [0.5, 0.6], "weights do not sum to 1"),
        ([1, 1], [1, 1], [1.5, -0.5], "weight[1] is not a probability"),
        ([1, 1], [1, 1], [np.nan, 1], "weight[0] is not a probability"),
        ([1, 1], [1], [0.5, 0.5], "differ in shape"),
        ([[1]], [[1]], [[1]], "differ in shape"),
        ([], [], [], "there are no request sizes"),
        (["many"], [1], [1], "prompt_tokens of request sizes 'x' are not numbers"),
    ],
)
def test_bad_sizes_are_refused(prompt: list[float], output: list[float], weight: list[float], what: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        RequestSizes(np.array(prompt), np.array(output), np.array(weight), "x")
    assert what in str(caught.value)


def test_decode_context_against_stepping_through_every_token() -> None:
    # Oracle: before and after each decode step, count the tokens in the cache and take the middle.
    sizes = RequestSizes(np.array([100, 7, 50]), np.array([5, 1, 12]), np.array([0.5, 0.3, 0.2]), "three")
    total = steps = 0.0
    for prompt, output, weight in zip(sizes.prompt_tokens, sizes.output_tokens, sizes.weight, strict=True):
        held = prompt
        for _ in range(int(output) - 1):
            total += weight * (held + (held + 1)) / 2
            steps += weight
            held += 1
    assert sizes.decode_context_tokens == pytest.approx(total / steps, rel=1e-12)
    assert sizes.mean_decode_steps == pytest.approx(steps, rel=1e-12)


def test_decode_context_of_independent_sizes_has_the_second_moment() -> None:
    prompt, output = np.meshgrid([100.0, 300.0], [11.0, 101.0])
    sizes = RequestSizes.equally_weighted(prompt.ravel(), output.ravel(), "independent")
    steps = np.array([10.0, 100.0])
    assert sizes.decode_context_tokens == pytest.approx(200 + np.mean(steps**2) / (2 * np.mean(steps)))


def test_decode_context_without_decode_steps_is_the_mean_prompt() -> None:
    sizes = RequestSizes.equally_weighted([10, 30], [1, 1], "first tokens only")
    assert sizes.decode_context_tokens == 20


@pytest.mark.parametrize("n", [1, 7, 10, 1000])
def test_quantiles_against_numpy_inverted_cdf(n: int) -> None:
    values = np.random.default_rng(n).integers(1, 500, n)
    sizes = RequestSizes.equally_weighted(values, values[::-1], "numpy")
    p = np.array([0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1])
    expected = np.quantile(values, p, method="inverted_cdf")
    assert sizes.quantile("prompt", p).tolist() == expected.tolist()
    assert sizes.quantile("output", 0.5) == expected[4]
    assert isinstance(sizes.quantile("output", 0.5), float)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_quantile_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(ScenarioError, match="not a probability"):
        log_normal_sizes(10).quantile("prompt", p)
    with pytest.raises(ScenarioError, match="unknown side"):
        log_normal_sizes(10).quantile("total", 0.5)  # type: ignore[arg-type]


@given(request_sizes(), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_quantile_is_monotone_and_a_point(sizes: RequestSizes, p: list[float]) -> None:
    quantiles = sizes.quantile("output", sorted(p))
    assert np.all(np.diff(quantiles) >= 0)
    assert np.all(np.isin(quantiles, sizes.output_tokens))
    assert sizes.quantile("output", 1.0) == sizes.output_tokens.max()


@given(request_sizes(), st.integers(1, 120))
def test_compression_preserves_the_means_and_the_range(sizes: RequestSizes, max_points: int) -> None:
    small = sizes.compressed(max_points)
    assert small.n_points <= max(max_points, 1)
    assert small.mean_prompt_tokens == pytest.approx(sizes.mean_prompt_tokens, rel=1e-9)
    assert small.mean_output_tokens == pytest.approx(sizes.mean_output_tokens, rel=1e-9)
    for before, after in ((sizes.prompt_tokens, small.prompt_tokens), (sizes.output_tokens, small.output_tokens)):
        assert after.min() >= before.min() * (1 - 1e-9)
        assert after.max() <= before.max() * (1 + 1e-9)


@given(st.integers(0, 10**6), st.integers(4, 60))
def test_compression_does_not_depend_on_the_order(seed: int, max_points: int) -> None:
    # Few distinct sizes, so that ties fall across the edges of the cells.
    generator = np.random.default_rng(seed)
    prompt, output = generator.integers(1, 6, (2, 200))
    order = generator.permutation(200)
    one = RequestSizes.equally_weighted(prompt, output, "drawn").compressed(max_points)
    two = RequestSizes.equally_weighted(prompt[order], output[order], "shuffled").compressed(max_points)
    for field in ("prompt_tokens", "output_tokens", "weight"):
        assert getattr(one, field).tolist() == getattr(two, field).tolist()


@pytest.mark.parametrize(("max_points", "tolerance"), [(256, 0.06), (1024, 0.03)])
def test_compression_keeps_the_tails_and_the_dependence(max_points: int, tolerance: float) -> None:
    sizes = log_normal_sizes()
    small = sizes.compressed(max_points)
    for which in ("prompt", "output"):
        p = np.array([0.5, 0.9, 0.99])
        assert small.quantile(which, p) == pytest.approx(sizes.quantile(which, p), rel=tolerance)
        assert small.quantile(which, 0.999) == pytest.approx(sizes.quantile(which, 0.999), rel=0.15)
    assert small.mean_kv_token_steps == pytest.approx(sizes.mean_kv_token_steps, rel=0.03)
    assert small.decode_context_tokens == pytest.approx(sizes.decode_context_tokens, rel=0.03)


def test_compression_of_few_points_changes_nothing() -> None:
    sizes = log_normal_sizes(100)
    assert sizes.compressed(100) is sizes
    with pytest.raises(ScenarioError, match="no points"):
        sizes.compressed(0)
