"""sizes_of: the sample of a catalog workload against closed forms."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.schema import TokenDistribution, Workload
from planner.errors import ScenarioError
from planner.workload.fitting import normal_score_correlation
from planner.workload.library import sizes_of


def workload(prompt: TokenDistribution, output: TokenDistribution, correlation: float = 0.0) -> Workload:
    return Workload(
        name="w", title="w", source="made for a test", kind="estimate", prompt_tokens=prompt, output_tokens=output,
        correlation=correlation,
    )  # fmt: skip


def table(*pairs: tuple[float, float]) -> TokenDistribution:
    return TokenDistribution(probabilities=[p for p, _ in pairs], tokens=[q for _, q in pairs])


def log_normal_table(median: float, sigma: float) -> TokenDistribution:
    p = [*np.linspace(0.001, 0.999, 400)]
    q = [median * math.exp(sigma * NormalDist().inv_cdf(x)) for x in p]
    return table((0, q[0]), *zip(p, q, strict=True), (1, q[-1]))


@pytest.mark.parametrize("n_points", [1, 2, 10, 333, 1024])
def test_marginal_means_are_those_of_the_table_whatever_the_number_of_points(n_points: int) -> None:
    # Oracle: ln Q linear from 100 to 100 e^2 has the mean 100 (e^2 - 1)/2.
    sizes = sizes_of(workload(table((0, 100), (1, 100 * math.e**2)), table((0, 500), (1, 500))), n_points)
    assert sizes.n_points == n_points
    assert sizes.mean_prompt_tokens == pytest.approx(100 * (math.e**2 - 1) / 2, abs=0.5)
    assert set(sizes.output_tokens) == {500}


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_product_moment_against_the_bivariate_log_normal(correlation: float) -> None:
    # Oracle: E[X Y] / (E[X] E[Y]) = exp(r s t), for log-normals with sigmas s, t under a Gaussian copula.
    sizes = sizes_of(workload(log_normal_table(5000, 0.6), log_normal_table(2000, 0.5), correlation), 4096)
    product = sizes.weight @ (sizes.prompt_tokens * sizes.output_tokens)
    ratio = product / (sizes.mean_prompt_tokens * sizes.mean_output_tokens)
    assert ratio == pytest.approx(math.exp(correlation * 0.6 * 0.5), rel=0.01)
    assert normal_score_correlation(sizes) == pytest.approx(correlation, abs=0.03)


def test_quantiles_are_those_of_the_table_far_into_the_tail() -> None:
    pairs = ((0, 10), (0.5, 1000), (0.9, 4000), (0.99, 20_000), (0.999, 60_000), (1, 100_000))
    sizes = sizes_of(workload(table(*pairs), table(*pairs), 0.2))
    for which in ("prompt", "output"):
        for p, q in pairs[1:-1]:
            assert sizes.quantile(which, p) == pytest.approx(q, rel=0.02)
        assert 70_000 < sizes.quantile(which, 1) <= 100_000


def test_tokens_are_whole_and_at_least_one() -> None:
    sizes = sizes_of(workload(table((0, 0.01), (1, 3)), table((0, 0.2), (1, 0.3))))
    assert np.all(sizes.prompt_tokens == np.rint(sizes.prompt_tokens))
    assert sizes.prompt_tokens.min() == 1
    assert set(sizes.output_tokens) == {1}


def test_the_sample_is_the_same_every_time() -> None:
    w = workload(log_normal_table(900, 1), log_normal_table(100, 1), 0.4)
    one, two = sizes_of(w), sizes_of(w)
    for field in ("prompt_tokens", "output_tokens", "weight"):
        assert getattr(one, field).tobytes() == getattr(two, field).tobytes()
    assert one.name == "w"


def test_no_points_are_refused() -> None:
    with pytest.raises(ScenarioError, match="no points"):
        sizes_of(workload(table((0, 1), (1, 2)), table((0, 1), (1, 2))), 0)


@st.composite
def tables(draw: st.DrawFn) -> TokenDistribution:
    inner = sorted(draw(st.sets(st.integers(1, 999), max_size=6)))
    p = [0.0, *(i / 1000 for i in inner), 1.0]
    q = sorted(draw(st.lists(st.floats(1, 1e6), min_size=len(p), max_size=len(p))))
    return table(*zip(p, q, strict=True))


@given(tables(), tables(), st.floats(-0.999, 0.999), st.integers(1, 200))
def test_every_workload_gives_valid_sizes_within_its_tables(
    prompt: TokenDistribution, output: TokenDistribution, correlation: float, n_points: int
) -> None:
    sizes = sizes_of(workload(prompt, output, correlation), n_points)
    for tokens, of in ((sizes.prompt_tokens, prompt), (sizes.output_tokens, output)):
        assert tokens.min() >= max(1, of.tokens[0] * (1 - 1e-9) - 0.5)
        assert tokens.max() <= of.tokens[-1] * (1 + 1e-9) + 0.5
