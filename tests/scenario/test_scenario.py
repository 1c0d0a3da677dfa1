"""What may be asked for: every way to write it, and every way to get it wrong, through the Python API."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner
from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError, InputError, PlannerError, ScenarioError, UnknownNameError
from planner.scenario.resolve import resolve
from planner.scenario.scenario import DEFAULT_OBJECTIVES, Scenario
from planner.scenario.scenario_file import load_scenario

# What the formulas say; proof by simulation has tests of its own.
optimize = functools.partial(planner.optimize, verify=False)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def error_of(catalog: Catalog, **fields: Any) -> PlannerError:
    """The error that a scenario with these fields ends with, before anything is computed."""
    with pytest.raises(PlannerError) as caught:
        resolve(load_scenario({}, **fields), catalog)
    return caught.value


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rate",
    [
        -1.0, 0.0, math.nan, math.inf, -math.inf, 1e8, 1e300,
        "70", "-5/s", "0/s", "nan/s", "inf/s", "1e9/s", "70 s", "seventy", "", True, [70],
    ],
)  # fmt: skip
def test_rates_that_make_no_sense(catalog: Catalog, rate: object) -> None:
    for name in ("rate", "rate_per_s"):
        error = error_of(catalog, **{name: rate})
        assert isinstance(error, ScenarioError)
        assert (error.exit_code, error.where) == (2, name)
        assert error.value is not None


@pytest.mark.parametrize(
    ("rate", "per_s"),
    [(70, 70.0), (70.0, 70.0), ("70/s", 70.0), ("4200/min", 70.0), ("70 requests/s", 70.0), ("1e7/s", 1e7)],
)
def test_rates_that_do(rate: object, per_s: float) -> None:
    assert load_scenario({"rate": rate}).rate_per_s == pytest.approx(per_s)
    assert load_scenario({"rate_per_s": rate}).rate_per_s == pytest.approx(per_s)


@pytest.mark.parametrize("percentile", ["0", "100", "101", "-5", "1e3", "nan", "inf", "x", ""])
def test_percentiles_outside_0_and_100(catalog: Catalog, percentile: str) -> None:
    error = error_of(catalog, slo=f"ttft.p{percentile}=1s")
    assert isinstance(error, ScenarioError)
    assert error.where == "slo"
    assert "percentile" in error.what


@pytest.mark.parametrize(
    ("slo", "kind"),
    [
        ("ttft", "needs a limit"), ("ttft=", "not a time"), ("ttft=1", "needs its unit"), ("ttft=-1s", "positive"),
        ("ttft=0s", "positive"), ("ttft=0x", "positive"), ("ttft=nans", "not a time"), ("ttft=1GB", "data size"),
        ("", "unknown objective"), ([], "no objectives"), (["ttft=1s", "ttft=2s"], "two limits"),
        (["splitwise", "ttft.p50=1s"], "two limits"), (5, "like ttft=1s"), (None, "like ttft=1s"),
        ("ttft=1s, tbt=2s", "more than one objective"),
    ],
)  # fmt: skip
def test_objectives_that_make_no_sense(catalog: Catalog, slo: object, kind: str) -> None:
    error = error_of(catalog, slo=slo)
    assert isinstance(error, InputError)
    assert error.where == "slo"
    assert kind in str(error)


@pytest.mark.parametrize(
    ("fields", "where", "near"),
    [
        ({"model": "lama-3.1-70b"}, "model", "llama-3.1-70b"),
        ({"runtime": "vlm-2026"}, "runtime", "vllm-2026"),
        ({"machines": "dgx-h10"}, "machines", "dgx-h100"),
        ({"machines": ["dgx-h100", "dgxa100"]}, "machines", "dgx-a100"),
        ({"max_machines": {"dgx-h10": 3}}, "max_machines", "dgx-h100"),
        ({"reference_machine": "dgx-a10", "slo": "ttft=2x"}, "reference_machine", "dgx-a100"),
        ({"workload": "azure-conv-2032"}, "workload", "azure-conv-2023"),
        ({"prices": "splitwise-2032"}, "prices", "splitwise-2023"),
        ({"design": "Splitwise-HX"}, "design", "Splitwise-HH"),
        ({"design": "splitwize"}, "design", "splitwise"),
        ({"design": "Baseline-H10"}, "design", "dgx-h100"),
        ({"design": "Splitwise-dgx-h100+dgx-a10"}, "design", "dgx-a100"),
        ({"slo": "tft=1s"}, "slo", "ttft"),
        ({"slo": "splitwsie"}, "slo", "splitwise"),
    ],
)
def test_unknown_names_offer_those_that_come_near(
    catalog: Catalog, fields: dict[str, Any], where: str, near: str
) -> None:
    error = error_of(catalog, **fields)
    assert isinstance(error, UnknownNameError)
    assert error.where == where
    assert near in error.suggestions


@pytest.mark.parametrize(
    ("fields", "where", "near"),
    [
        ({"ratee": 5}, "ratee", "rate"),
        ({"max_machine": {"dgx-h100": 3}}, "max_machine", "max_machines"),
        ({"slos": "ttft=1s"}, "slos", "slo"),
        ({"solver": "hihgs"}, "solver", "highs"),
        ({"objective": "costs"}, "objective", "cost"),
        ({"precision": "fp17"}, "precision", "fp16"),
    ],
)
def test_unknown_fields_and_choices_offer_those_that_come_near(
    catalog: Catalog, fields: dict[str, Any], where: str, near: str
) -> None:
    error = error_of(catalog, **fields)
    assert isinstance(error, ScenarioError)
    assert error.where == where
    assert near in error.suggestions


@pytest.mark.parametrize(
    "fields",
    [
        {"max_cost": -5.0}, {"max_cost": 0.0}, {"max_cost": math.nan}, {"max_cost": "5"}, {"max_cost": "5 kW"},
        {"max_power": 0.0}, {"max_power": "-1 kW"}, {"max_power": "40"},
        {"max_total_machines": 0}, {"max_total_machines": 1.5}, {"max_pools": 0}, {"max_machines": {"dgx-h100": -1}},
        {"max_machines": {"dgx-h100": 1.5}}, {"max_machines": 5}, {"spares": -1}, {"spares": 1.5}, {"spares": 1001},
        {"max_utilisation": 0.0}, {"max_utilisation": 1.5}, {"arrival_cv2": -1.0},
        {"arrival_cv2": math.nan}, {"arrival_cv2": 1e6}, {"time_limit_s": 0.0}, {"time_limit_s": math.inf},
        {"time_limit_s": "60s"}, {"seed": -1}, {"machines": []}, {"machines": None}, {"workload": ""}, {"workload": 5},
        {"model": None}, {"slo": 5},
    ],
)  # fmt: skip
def test_values_out_of_range_name_their_field(catalog: Catalog, fields: dict[str, Any]) -> None:
    error = error_of(catalog, **fields)
    assert isinstance(error, InputError)
    assert error.exit_code == 2
    assert error.where is not None and error.where.split(".")[0] in fields


@pytest.mark.parametrize("scenario", [5, [], None, 3.0])
def test_what_is_no_scenario(scenario: object) -> None:
    with pytest.raises(ScenarioError, match="not a scenario"):
        load_scenario(scenario)  # type: ignore[arg-type]


def test_one_field_under_two_names_is_given_twice() -> None:
    for fields in ({"rate": 70.0, "rate_per_s": 80.0}, {"max_cost": 1.0, "max_cost_usd_per_hour": 1.0}):
        with pytest.raises(ScenarioError, match="given twice"):
            load_scenario(fields)
        with pytest.raises(ScenarioError, match="given twice"):
            load_scenario({}, **fields)


# -- contradictions ------------------------------------------------------------------------------------------------


def test_throughput_needs_a_budget_that_binds_every_machine(catalog: Catalog) -> None:
    error = error_of(catalog, objective="throughput")
    assert isinstance(error, ScenarioError)
    assert "bounds" in error.what
    with pytest.raises(ScenarioError, match="dgx-a100 can be bought without end"):
        optimize(objective="throughput", max_machines={"dgx-h100": 3}, catalog=catalog)


def test_a_stock_of_nothing_leaves_no_machine(catalog: Catalog) -> None:
    error = error_of(catalog, max_machines={"dgx-h100": 0, "dgx-a100": 0})
    assert isinstance(error, InfeasibleError)
    assert (error.exit_code, error.where) == (3, "max_machines")


def test_a_stock_of_a_machine_that_is_not_considered_is_noted(catalog: Catalog) -> None:
    problem = resolve(load_scenario({"max_machines": {"dgx-b200": 5, "dgx-h100": 9}}), catalog)
    assert [note for note in problem.notes if "dgx-b200" in note and "dgx-h100" not in note]


def test_a_machine_without_a_price_is_refused_where_prices_count(catalog: Catalog) -> None:
    for fields in ({"objective": "cost"}, {"objective": "power", "max_cost": 500.0}):
        error = error_of(catalog, machines=["dgx-h100", "dgx-h200"], **fields)
        assert isinstance(error, ScenarioError)
        assert "no price book lists dgx-h200" in error.what
    for fields in ({"objective": "power"}, {"objective": "throughput", "max_power": 1e5}, {"objective": "machines"}):
        names = [
            m.name for m in resolve(load_scenario({"machines": ["dgx-h100", "dgx-h200"]}, **fields), catalog).machines
        ]
        assert names == ["dgx-h100", "dgx-h200"]
    whole = resolve(load_scenario({"machines": "all"}), catalog)
    assert "dgx-h200" in whole.unpriced and "dgx-h200" not in [m.name for m in whole.machines]


def test_slowdowns_against_a_machine_that_cannot_hold_the_model(catalog: Catalog) -> None:
    error = error_of(catalog, slo="ttft=2x", reference_machine="8x-t4")
    assert isinstance(error, InfeasibleError)
    assert "slowdowns cannot be measured against 8x-t4" in error.what
    assert str(error).count(" bytes ") == 2  # what is needed and what there is
    assert "--reference-machine" in (error.fix or "")


def test_columns_of_a_workload_that_is_no_file(catalog: Catalog) -> None:
    error = error_of(catalog, workload_columns={"prompt": "tokens_in"})
    assert error.where == "workload_columns"


# -- traces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n", "no requests"),
        (b"a,b\n1,2\n", "column"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,0,44\n", "token"),
        (b"\xff\xfe\x00 not text", ""),
    ],
)
def test_bad_traces_surface_with_the_file_and_line(catalog: Catalog, tmp_path: Path, content: bytes, kind: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_bytes(content)
    error = error_of(catalog, workload=str(trace))
    assert error.exit_code == 2
    assert error.where is not None and error.where.startswith(str(trace))
    assert kind in str(error)


def test_a_missing_trace_or_profile_or_overlay_names_its_path(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("workload", "profile", "catalog"):
        missing = str(tmp_path / ("nowhere" if name == "catalog" else "nowhere.csv"))
        with pytest.raises(InputError) as caught:
            resolve(load_scenario({name: missing}))
        assert missing in str(caught.value)


# -- files ---------------------------------------------------------------------------------------------------------


def scenario_file(folder: Path, text: str) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_scenario_file_says_it_with_units(tmp_path: Path) -> None:
    path = scenario_file(
        tmp_path,
        """
model: llama-3.1-8b
rate: 4200/min
slo: [ttft=500ms, tbt.p90=2x]
machines: dgx-h100
max_machines:
  dgx-h100: 40
max_cost: 1000 USD/h
max_power: 306 kW
spares: 1
""",
    )
    scenario = load_scenario(path)
    assert scenario == load_scenario(str(path))
    assert (scenario.rate_per_s, scenario.max_cost_usd_per_hour, scenario.max_power_w) == (70.0, 1000.0, 306e3)
    assert [str(o) for o in scenario.slo] == ["ttft.p99=500ms", "tbt.p90=2x"]
    assert scenario.machines == ("dgx-h100",)


@pytest.mark.parametrize(
    ("text", "line", "kind"),
    [
        ("model: llama-3.1-8b\nratee: 5/s\n", 2, "unknown field"),
        ("model: llama-3.1-8b\nrate: 70\n", 2, "unit"),
        ("model: llama-3.1-8b\n\nrate: 70 kW\n", 3, "power"),
        ("rate: 70/s\nrate: 80/s\n", 2, "rate"),
        ("rate: 70/s\nmax_machines:\n  dgx-h100: 3\n  dgx-a100: -1\n", 4, "0"),
        ("rate: 70/s\nrate_per_s: 80/s\n", 2, "given twice"),
        ("model: [\n", 2, ""),
        ("- a\n- b\n", 1, ""),
    ],
)
def test_errors_in_a_scenario_file_name_its_line(tmp_path: Path, text: str, line: int, kind: str) -> None:
    path = scenario_file(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert caught.value.exit_code == 2
    assert caught.value.where == f"{path}:{line}"
    assert kind in str(caught.value)


def test_a_missing_or_empty_or_garbled_scenario_file(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot read"):
        load_scenario(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError):
        load_scenario(tmp_path)
    path = tmp_path / "scenario.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        load_scenario(path)


def test_paths_in_a_scenario_file_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "asked"
    (folder / "mine" / "machines").mkdir(parents=True)
    (folder / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0.0,100,10\n1.0,200,20\n")
    path = scenario_file(folder, "workload: trace.csv\ncatalog: mine\nprofile: ../steps.csv\n")
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario("asked/scenario.yaml")
    assert Path(scenario.workload).resolve() == (folder / "trace.csv").resolve()
    assert Path(scenario.catalog[0]).resolve() == (folder / "mine").resolve()
    assert Path(scenario.profile or "").resolve() == (tmp_path / "steps.csv").resolve()
    # A name of the catalog stays one, even beside a folder of that name.
    (folder / "azure-conv-2023").mkdir()
    scenario_file(folder, "workload: azure-conv-2023\n")
    assert load_scenario(path).workload == "azure-conv-2023"
    # Absolute paths stay as they are.
    scenario_file(folder, f"workload: {tmp_path}/other.csv\n")
    assert load_scenario(path).workload == f"{tmp_path}/other.csv"


def test_a_file_that_names_a_missing_trace_is_told_where_it_was_looked_for(catalog: Catalog, tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "workload: nowhere.csv\n")
    with pytest.raises(InputError) as caught:
        resolve(load_scenario(path), catalog)
    assert str(tmp_path / "nowhere.csv") in str(caught.value)


def test_overrides_win_over_a_file_under_either_name(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "rate: 70/s\nmax_cost: 100 USD/h\nmodel: llama-3.1-8b\n")
    scenario = load_scenario(path, rate_per_s=5.0, max_cost_usd_per_hour=50.0, slo="ttft=2s")
    assert (scenario.rate_per_s, scenario.max_cost_usd_per_hour, scenario.model) == (5.0, 50.0, "llama-3.1-8b")
    assert load_scenario(scenario, rate="9/s").rate_per_s == 9.0
    assert load_scenario({"rate_per_s": 3.0}, rate="9/s").rate_per_s == 9.0


def test_an_override_is_blamed_for_its_own_value(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "rate: 70/s\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, rate="-1/s")
    assert caught.value.where == "rate"


# -- round trips ---------------------------------------------------------------------------------------------------

SLOS = st.lists(
    st.tuples(st.sampled_from(["ttft", "tbt", "e2e"]), st.sampled_from([50, 90, 99, 99.9]),
              st.sampled_from(["1s", "200ms", "2x", "1.25x", "0.1234567s"])),
    min_size=1, max_size=4, unique_by=lambda t: t[:2],
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    slo=SLOS,
    rate=st.floats(1e-6, 1e7, allow_nan=False),
    spares=st.integers(0, 10),
    max_cost=st.none() | st.floats(0.01, 1e9),
    max_power=st.none() | st.floats(0.01, 1e12),
    stock=st.dictionaries(st.sampled_from(["dgx-h100", "dgx-a100"]), st.integers(0, 1000)),
    precision=st.sampled_from([None, "fp8", "bf16"]),
)
def test_dump_is_read_back_the_same(
    slo: list[tuple[str, float, str]], rate: float, spares: int, max_cost: float | None, max_power: float | None,
    stock: dict[str, int], precision: str | None,
) -> None:  # fmt: skip
    scenario = load_scenario(
        {
            "slo": [f"{metric}.p{percentile:g}={limit}" for metric, percentile, limit in slo],
            "rate": rate, "spares": spares, "max_cost": max_cost, "max_power": max_power, "max_machines": stock,
            "precision": precision,
        }
    )  # fmt: skip
    data = json.loads(json.dumps(scenario.dump()))
    assert Scenario.model_validate(data) == scenario
    assert load_scenario(data) == scenario
    assert load_scenario(data).dump() == scenario.dump()


def test_every_field_has_a_default() -> None:
    scenario = load_scenario({})
    assert [str(o) for o in scenario.slo] == list(DEFAULT_OBJECTIVES)
    assert set(scenario.dump()) == set(Scenario.model_fields) - {"suppose"}  # what nothing supposes is not said


# -- catalogs ------------------------------------------------------------------------------------------------------


def priced(folder: Path, machine: str, usd_per_hour: float) -> Path:
    """An overlay of three lines that changes one price."""
    book = Catalog().price_of(machine)
    assert book is not None
    (folder / "prices").mkdir(parents=True)
    (folder / "prices" / f"{book.book}.yaml").write_text(
        f"source: a quote\nkind: quote\non_demand: {{{machine}: {usd_per_hour} USD/h}}\n"
    )
    return folder


def test_planner_catalog_is_respected_and_the_scenario_wins_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANNER_CATALOG", str(priced(tmp_path / "environment", "dgx-h100", 1.0)))
    price = resolve(load_scenario({})).catalog.price_of("dgx-h100")
    assert price is not None and price.usd_per_hour == 1.0
    over = priced(tmp_path / "scenario", "dgx-h100", 2.0)
    price = resolve(load_scenario({"catalog": str(over)})).catalog.price_of("dgx-h100")
    assert price is not None and price.usd_per_hour == 2.0


def test_a_planner_catalog_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_CATALOG", str(tmp_path / "nowhere"))
    with pytest.raises(InputError) as caught:
        optimize()
    assert "PLANNER_CATALOG" in str(caught.value) and "nowhere" in str(caught.value)
