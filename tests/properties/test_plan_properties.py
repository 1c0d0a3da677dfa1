"""What must hold of every plan: asking for more never costs less, having more never costs more."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError
from planner.planning.search import solve_problem
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario

MACHINES = ("dgx-a100", "dgx-h100", "dgx-h100-cap", "aws-g6.12xlarge", "lambda-8x-a100-40", "hyperstack-8x-h200")
TINY = 1e-6  # relative: below the precision of capacities
few = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)

Fields = dict[str, Any]


@lru_cache(maxsize=1)
def catalog() -> Catalog:
    return Catalog()


def value(fields: Fields, overlays: tuple[Path, ...] = ()) -> float:
    """Objective of the best plan; infinite where there is none (for throughput, nothing)."""
    scenario = load_scenario(fields)
    try:
        solution = solve_problem(resolve(scenario, Catalog(overlays) if overlays else catalog()))
    except InfeasibleError:
        return 0.0 if scenario.objective == "throughput" else math.inf
    assert solution.selection.status == "optimal"
    return solution.selection.objective


def dearer(a: float, b: float) -> bool:
    """Whether a costs more than b."""
    return a > b * (1 + TINY)


@st.composite
def scenarios(draw: st.DrawFn) -> Fields:
    """Scenarios that are quick to plan, most of them possible."""
    slo = draw(
        st.lists(
            st.sampled_from(
                ["ttft.p99=1s", "ttft.p90=500ms", "ttft.p50=2s", "tbt.p99=100ms", "tbt.p90=60ms", "e2e.p90=40s"]
            ),
            min_size=1, max_size=3, unique_by=lambda text: text.split("=")[0],
        )
    )  # fmt: skip
    return {
        "slo": slo,
        "model": draw(st.sampled_from(["llama-3.1-8b", "llama-3.1-70b"])),
        "workload": draw(st.sampled_from(["azure-conv-2023", "azure-code-2023"])),
        "rate_per_s": draw(st.sampled_from([0.5, 8.0, 40.0, 90.0])),
        "machines": draw(st.lists(st.sampled_from(MACHINES), min_size=1, max_size=3, unique=True)),
        "objective": draw(st.sampled_from(["cost", "cost", "power", "machines"])),
        "design": draw(st.sampled_from(["auto", "auto", "baseline", "splitwise"])),
        "spares": draw(st.sampled_from([0, 0, 1])),
    }


@few
@given(scenarios(), st.sampled_from([0.9, 0.7, 0.4]), st.data())
def test_a_tighter_objective_is_never_cheaper(fields: Fields, factor: float, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(fields["slo"]) - 1))
    name, limit = fields["slo"][at].split("=")
    number, unit = (limit[:-2], "ms") if limit.endswith("ms") else (limit[:-1], "s")
    tighter = [*fields["slo"][:at], f"{name}={float(number) * factor:g}{unit}", *fields["slo"][at + 1 :]]
    assert not dearer(value(fields), value(fields | {"slo": tighter}))


@few
@given(scenarios())
def test_a_higher_percentile_is_never_cheaper(fields: Fields) -> None:
    name, limit = fields["slo"][0].split("=")
    metric = name.split(".")[0]
    rest = [text for text in fields["slo"][1:] if not text.startswith(metric)]
    low, high = (value(fields | {"slo": [f"{metric}.p{p}={limit}", *rest]}) for p in (80, 99))
    assert not dearer(low, high)


@few
@given(scenarios(), st.sampled_from([1.02, 1.5, 4.0]))
def test_more_traffic_is_never_cheaper(fields: Fields, factor: float) -> None:
    assert not dearer(value(fields), value(fields | {"rate_per_s": fields["rate_per_s"] * factor}))


@few
@given(scenarios())
def test_another_spare_is_never_cheaper(fields: Fields) -> None:
    assert not dearer(value(fields), value(fields | {"spares": fields["spares"] + 1}))


@few
@given(scenarios(), st.sampled_from(MACHINES))
def test_another_type_of_machine_is_never_worse(fields: Fields, machine: str) -> None:
    more = list(dict.fromkeys([*fields["machines"], machine]))
    assert not dearer(value(fields | {"machines": more}), value(fields))


@few
@given(scenarios(), st.integers(1, 5), st.integers(1, 3))
def test_more_stock_is_never_worse(fields: Fields, stock: int, extra: int) -> None:
    name = fields["machines"][0]
    more, less = (value(fields | {"max_machines": {name: n}}) for n in (stock + extra, stock))
    assert not dearer(more, less)


@few
@given(scenarios(), st.sampled_from([60.0, 200.0]), st.sampled_from([1.05, 2.0]))
def test_a_larger_budget_never_serves_less(fields: Fields, budget: float, factor: float) -> None:
    fields = fields | {"objective": "throughput"}
    more, less = (value(fields | {"max_cost": b}) for b in (budget * factor, budget))
    # Equal throughputs may differ by the tie-break for fewer pools, two millionths.
    assert less <= more * (1 + 1e-5)


@few
@given(scenarios(), st.sampled_from([0.99, 0.5]))
def test_a_lower_price_is_never_dearer(tmp_path_factory: pytest.TempPathFactory, fields: Fields, factor: float) -> None:
    fields = fields | {"objective": "cost"}
    name = fields["machines"][0]
    price = catalog().price_of(name)
    assert price is not None
    text = f"on_demand: {{{name}: {price.usd_per_hour * factor:.9f} USD/h}}"
    overlay = overlaid(tmp_path_factory, "prices", price.book, text)
    assert not dearer(value(fields, (overlay,)), value(fields))


@few
@given(scenarios(), st.sampled_from(["memory_bandwidth", "memory", "peak"]), st.sampled_from([1.05, 2.0]))
def test_a_better_accelerator_is_never_dearer(
    tmp_path_factory: pytest.TempPathFactory, fields: Fields, what: str, factor: float
) -> None:
    chip = catalog().accelerator_of(fields["machines"][0])
    texts = {
        "memory_bandwidth": f"memory_bandwidth: {chip.memory_bandwidth_bytes_per_s * factor / 1e9:.6f} GB/s",
        "memory": f"memory: {chip.memory_bytes * factor / 1e9:.6f} GB",
        "peak": f"peak: {{{', '.join(f'{p}: {x * factor / 1e12:.6f} TFLOP/s' for p, x in chip.peak.items())}}}",
    }
    overlay = overlaid(tmp_path_factory, "accelerators", chip.name, texts[what])
    assert not dearer(value(fields, (overlay,)), value(fields))


def overlaid(factory: pytest.TempPathFactory, kind: str, name: str, text: str) -> Path:
    """A catalog of one file of three lines."""
    folder = factory.mktemp("overlay")
    (folder / kind).mkdir()
    (folder / kind / f"{name}.yaml").write_text(f"source: a test\nkind: estimate\n{text}\n")
    return folder


@few
@given(scenarios())
def test_a_narrower_design_is_never_better(fields: Fields) -> None:
    best = value(fields | {"design": "auto"})
    for design in ("baseline", "splitwise"):
        assert not dearer(best, value(fields | {"design": design}))


@few
@given(scenarios(), st.randoms())
def test_the_order_of_machines_and_objectives_does_not_matter(fields: Fields, random: Any) -> None:
    shuffled = {k: random.sample(v, len(v)) if isinstance(v, list) else v for k, v in fields.items()}
    plans = []
    for asked in (fields, shuffled):
        try:
            solution = solve_problem(resolve(load_scenario(asked), catalog()))
        except InfeasibleError as error:
            plans.append(type(error))
        else:
            plans.append((solution.selection.counts, solution.selection.objective, solution.capacities))
    assert plans[0] == plans[1]
