"""Stated margins of predicted percentiles: the table, its look-up, and whether it covers clusters simulated anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.pools.prediction import ClusterModel
from planner.serving.margin import LANES, PERCENTILES, UTILISATIONS, Margin, percentile_margin, widest

JUDGED = {"prefill": ("ttft", "e2e"), "decode": ("tbt", "e2e"), "mixed": ("ttft", "tbt", "e2e")}
ROLE_METRICS = [(role, metric) for role, metrics in JUDGED.items() for metric in metrics]


def margin_of(role: str, metric: str, percentile: float = 99.0, **other: float) -> Margin | None:
    like = {"utilisation": 0.7, "n_lanes": 5.0, "mean_output_tokens": 28.0, "arrival_cv2": 1.0} | other
    return percentile_margin(role, metric, percentile, **like)


@pytest.mark.parametrize(("role", "metric"), ROLE_METRICS)
@pytest.mark.parametrize("answer", [28.0, 211.0])
@pytest.mark.parametrize("lanes", [1.0, 3.0, 8.0, 64.0])
def test_every_common_pool_has_a_margin(role: str, metric: str, answer: float, lanes: float) -> None:
    for p in PERCENTILES:
        for cv in (0.5, 1.0, 2.0, 3.0):
            for utilisation in (0.2, 0.6, 0.8):
                margin = margin_of(
                    role, metric, p, utilisation=utilisation, n_lanes=lanes, mean_output_tokens=answer,
                    arrival_cv2=cv**2,
                )  # fmt: skip
                assert margin is not None
                assert -0.95 < margin.low <= 0.0 <= margin.high


@given(
    st.sampled_from(ROLE_METRICS), st.floats(0.1, 99.0), st.floats(0.0, 0.9), st.floats(1.0, 400.0),
    st.floats(1.0, 500.0), st.floats(0.0, 9.0),
)  # fmt: skip
def test_a_margin_covers_those_of_its_neighbours(
    role_metric: tuple[str, str], percentile: float, utilisation: float, lanes: float, answer: float, cv2: float
) -> None:
    like = {"utilisation": utilisation, "n_lanes": lanes, "mean_output_tokens": answer, "arrival_cv2": cv2}
    margin = margin_of(*role_metric, percentile, **like)
    if margin is None:
        return  # a class that the grid lacks
    for p in PERCENTILES:
        at = margin_of(*role_metric, p, **like)
        assert at is not None
        if p == min(q for q in PERCENTILES if q >= percentile):
            assert margin.low <= at.low
            assert margin.high >= at.high
    either = [margin_of(*role_metric, percentile, **like | {"mean_output_tokens": x}) for x in (28.0, 211.0)]
    if 50.0 < answer < 200.0:
        assert margin == widest(either)
    else:
        assert margin in either


def test_what_was_never_simulated_has_no_margin() -> None:
    assert margin_of("mixed", "ttft", 99.9) is None
    assert margin_of("mixed", "ttft", utilisation=UTILISATIONS[-1] + 0.01) is None
    assert margin_of("mixed", "ttft", arrival_cv2=9.5) is None
    assert margin_of("prefill", "tbt") is None
    assert margin_of("decode", "tbt", n_lanes=10.0 * LANES[-1]) == margin_of("decode", "tbt", n_lanes=LANES[-1])


def test_the_widest_of_unknown_margins_is_unknown() -> None:
    assert widest([]) is None
    assert widest([Margin(-0.1, 0.0), None]) is None
    assert widest([Margin(-0.1, 0.0), Margin(-0.05, 0.2)]) == Margin(-0.1, 0.2)


@pytest.fixture(scope="module")
def benchmark(repository: Path) -> ModuleType:
    """`benchmarks/simulated_grid.py`."""
    path = repository / "benchmarks" / "simulated_grid.py"
    if not path.exists():
        pytest.skip("not run from a source tree: benchmarks/ is absent")
    spec = importlib.util.spec_from_file_location("simulated_grid", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated_grid"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("role", "sizes", "cv", "count", "utilisation"),
    [
        ("prefill", "azure-conv-2023", 1.0, 4, 0.7),
        ("prefill", "azure-code-2023", 2.5, 2, 0.5),
        ("decode", "azure-conv-2023", 1.0, 2, 0.5),
        ("mixed", "azure-code-2023", 1.0, 2, 0.5),
        ("mixed", "azure-conv-2023", 2.0, 5, 0.7),
    ],
)
def test_margins_cover_clusters_that_the_table_was_not_made_of(
    benchmark: ModuleType, role: str, sizes: str, cv: float, count: int, utilisation: float
) -> None:
    """Other sizes, loads and seeds than the grid's; the simulated 95 % interval counts."""
    grid = benchmark.Grid()
    cell = grid.simulate(benchmark.Case(role, sizes, "dgx-h100", cv, count, utilisation), seeds=(11,), n_requests=8000)
    model = ClusterModel(*grid.cluster(cell.case, cell.rate_per_s))
    for metric in JUDGED[role]:
        for p in PERCENTILES:
            predicted, margin = model.percentile(metric, p, 1.0), model.margin(metric, p)
            assert predicted is not None and margin is not None
            half = cell.half_width[metric, p]
            ratio = cell.value[metric, p] / predicted
            assert ratio * (1.0 + half) >= 1.0 + margin.low, (metric, p)
            assert ratio * (1.0 - half) <= 1.0 + margin.high, (metric, p)
            assert np.isfinite(ratio)
