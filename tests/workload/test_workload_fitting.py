"""fit_workload and workload_to_yaml."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Provenance, Workload
from planner.workload.fitting import PROBABILITIES, fit_workload, normal_score_correlation, workload_to_yaml
from planner.workload.library import sizes_of
from planner.workload.sizes import RequestSizes
from planner.workload.traces import Trace


def fit(sizes: RequestSizes | Trace, **more: object) -> Workload:
    fields: dict[str, object] = {"name": "w", "title": "A title", "source": "a test", "kind": "measured"}
    return fit_workload(sizes, **(fields | more))  # type: ignore[arg-type]


def loaded(workload: Workload) -> Workload:
    """Write the workload into a catalog folder and read it back as every command does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workloads" / f"{workload.name}.yaml"
        path.parent.mkdir()
        path.write_text(workload_to_yaml(workload), encoding="utf-8")
        return Catalog([folder]).workload(workload.name)


def copula_sizes(correlation: float, n: int = 20_000) -> RequestSizes:
    z = np.random.default_rng(3).standard_normal((2, n))
    other = correlation * z[0] + np.sqrt(1 - correlation**2) * z[1]
    prompt, output = (np.maximum(np.rint(np.exp(x)), 1) for x in (7 + 0.8 * z[0], 6 + 0.6 * other))
    return RequestSizes.equally_weighted(prompt, output, "copula")


@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.4, 0.9])
def test_the_correlation_of_a_gaussian_copula_is_found_again(correlation: float) -> None:
    sizes = copula_sizes(correlation)
    assert normal_score_correlation(sizes) == pytest.approx(correlation, abs=0.02)
    assert fit(sizes).correlation == pytest.approx(correlation, abs=0.04)


@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.4, 0.9])
def test_the_fit_reproduces_what_it_was_fitted_to(correlation: float) -> None:
    sizes = copula_sizes(correlation)
    again = sizes_of(fit(sizes))
    assert again.mean_prompt_tokens == pytest.approx(sizes.mean_prompt_tokens, rel=0.02)
    assert again.mean_output_tokens == pytest.approx(sizes.mean_output_tokens, rel=0.02)
    assert again.mean_kv_token_steps == pytest.approx(sizes.mean_kv_token_steps, rel=0.05)
    for which in ("prompt", "output"):
        p = np.array([0.1, 0.5, 0.9, 0.99])
        assert again.quantile(which, p) == pytest.approx(sizes.quantile(which, p), rel=0.03)


def test_a_dependence_that_is_no_gaussian_copula_keeps_its_product_moment() -> None:
    # Middling prompts have the longest answers: normal scores say 0, the product moment says otherwise.
    prompt = np.array([100, 200, 400, 800, 6400] * 200)
    output = np.array([50, 300, 500, 300, 50] * 200)
    sizes = RequestSizes.equally_weighted(prompt, output, "hump")
    assert normal_score_correlation(sizes) == pytest.approx(0, abs=1e-9)
    workload = fit(sizes)
    assert workload.correlation < -0.1
    # The jumps of this made-up distribution are ramps in the table, hence the tolerance.
    again = sizes_of(workload)
    ratios = [
        (s.weight @ (s.prompt_tokens * s.output_tokens)) / (s.mean_prompt_tokens * s.mean_output_tokens)
        for s in (sizes, again)
    ]
    assert ratios[0] < 0.7
    assert ratios[1] == pytest.approx(ratios[0], rel=0.02)


def test_ties_get_their_average_rank() -> None:
    # Both middle prompts share the score 0, so which of them has the longer output does not matter.
    sizes = RequestSizes.equally_weighted([1, 2, 2, 3], [4, 5, 6, 7], "ties")
    swapped = RequestSizes.equally_weighted([1, 2, 2, 3], [4, 6, 5, 7], "ties")
    assert normal_score_correlation(sizes) == pytest.approx(normal_score_correlation(swapped), abs=1e-12)
    assert 0.9 < normal_score_correlation(sizes) < 1


def test_fixed_sizes_have_no_correlation() -> None:
    workload = fit(RequestSizes.equally_weighted([500] * 3, [10, 20, 30], "fixed"))
    assert workload.correlation == 0
    assert set(workload.prompt_tokens.tokens) == {500}
    assert fit(RequestSizes.equally_weighted([7], [3], "one")).correlation == 0


def test_the_extremes_are_bounded_by_what_a_copula_can_do() -> None:
    up = np.arange(1.0, 2001.0)
    assert fit(RequestSizes.equally_weighted(up, up, "up")).correlation > 0.99
    assert fit(RequestSizes.equally_weighted(up, up[::-1], "down")).correlation < -0.99


def test_arrival_cv2_is_that_of_the_trace_unless_given() -> None:
    arrival = np.array([0.0, 1, 2, 10])
    trace = Trace(arrival, np.array([1.0, 2, 3, 4]), np.array([1.0, 1, 2, 2]), Path("t.csv"), "generic")
    gaps = np.diff(arrival)
    assert fit(trace).arrival_cv2 == pytest.approx(gaps.var() / gaps.mean() ** 2, rel=1e-5)
    assert fit(trace, arrival_cv2=1.0).arrival_cv2 == 1
    assert fit(trace.sizes()).arrival_cv2 == 1
    even = Trace(np.arange(4.0), trace.prompt_tokens, trace.output_tokens, Path("t.csv"), "generic")
    assert fit(even).arrival_cv2 > 0


def test_the_table_has_fixed_probabilities_dense_in_the_tail() -> None:
    workload = fit(copula_sizes(0.2))
    assert tuple(workload.prompt_tokens.probabilities) == PROBABILITIES
    assert {0.5, 0.9, 0.99, 0.999} < set(PROBABILITIES)


def test_yaml_is_readable() -> None:
    reason = "assumed, " + "for a long reason " * 8 + "indeed"
    workload = fit(
        RequestSizes.equally_weighted([3, 5], [2, 2], "two"),
        source="A source: with a colon, # a hash and 'quotes'",
        provenance={"arrival_cv2": Provenance(source=reason, kind="estimate")},
        notes="2024-01-01",
    )
    text = workload_to_yaml(workload)
    assert text.startswith("title: A title\nsource: \"A source: with a colon, # a hash and 'quotes'\"\nkind: meas")
    assert "    kind: estimate\n    source: >-\n      assumed, for a long reason" in text
    assert 'notes: "2024-01-01"\n' in text
    assert max(map(len, text.splitlines())) <= 110
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert loaded(workload) == workload


# Control characters cannot stand in YAML at all; pydantic refuses lone surrogates.
text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=3, max_size=200)
tokens = st.integers(1, 10**6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=40), text, text, text, st.floats(1e-6, 1e6))
def test_fit_to_yaml_to_catalog_round_trips(
    rows: list[tuple[int, int]], title: str, source: str, notes: str, arrival_cv2: float
) -> None:
    prompt, output = zip(*rows, strict=True)
    workload = fit(
        RequestSizes.equally_weighted(prompt, output, "drawn"), title=title, source=source, notes=notes,
        arrival_cv2=arrival_cv2, provenance={"correlation": Provenance(source=source, kind="derived")},
    )  # fmt: skip
    assert loaded(workload) == workload
