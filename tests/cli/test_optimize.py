"""`planner optimize`: options become the scenario, results go where asked, bad input is told where it stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.planning.plan import Plan
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario
from planner.studies import plans

Planner = Callable[..., Any]
PAIR = ("--machine", "dgx-a100", "--machine", "dgx-h100")  # where the machines are not what is asked about


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plans.optimize(slo="ttft=1s", verify=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> list[Scenario]:
    """Scenarios that were asked for; each gets the same plan, so that options are tested without solving."""
    seen: list[Scenario] = []

    def answer(scenario: object, *, catalog: object = None, progress: object = None, **fields: Any) -> Plan:
        overlays = {} if catalog is None else {"catalog": catalog}
        seen.append(load_scenario(scenario if scenario is not None else {}, **fields, **overlays))
        return plan

    monkeypatch.setattr(plans, "optimize", answer)
    return seen


def test_the_first_command_of_the_readme(planner: Planner) -> None:
    shown = planner("optimize", "--slo", "ttft=1s")
    lines = shown.out.splitlines()
    assert "llama-3.1-70b (bf16, vllm-2026), azure-conv-2023 at 70 requests/s" in lines[0]
    assert lines[1].startswith("Least cost: $")
    assert any(line.split()[:4] == ["TTFT", "p99", "1.00", "s"] for line in lines)
    assert "optimal (gap 0 %)" in shown.out
    assert shown.err == ""


def test_json_is_the_plan_and_the_same_bytes_each_time(planner: Planner) -> None:
    first = planner("optimize", "--slo", "ttft=1s", "--format", "json").out
    assert planner("optimize", "--slo", "ttft=1s", "--format", "json").out == first
    plan = Plan.model_validate_json(first)
    assert plan.solver.status == "optimal"
    assert plan.scenario["slo"] == ["ttft.p99=1s"]
    assert plan.meets_objectives


def test_csv_has_a_row_a_pool(planner: Planner, asked: list[Scenario], plan: Plan) -> None:
    rows = list(csv.DictReader(io.StringIO(planner("optimize", "--format", "csv").out)))
    assert [(r["role"], r["machine"], int(r["count"])) for r in rows] == [
        (p.role, p.machine, p.count) for p in plan.pools
    ]
    assert sum(float(r["cost_usd_per_hour"]) for r in rows) == pytest.approx(plan.cost_usd_per_hour)


OPTIONS: list[tuple[list[str], str, object]] = [
    (["--model", "qwen3-32b"], "model", "qwen3-32b"),
    (["--rate", "6000/min"], "rate_per_s", 100.0),
    (["--concurrency", "64"], "concurrency", 64),
    (["--isl", "3000+-500"], "isl", "3000+-500"),
    (["--osl", "300"], "osl", "300"),
    (["--size-for", "p95-minute"], "size_for", "p95-minute"),
    (["--drop-failed"], "drop_failed", True),
    (["--quotes", "newest"], "quotes", "newest"),
    (["--workload", "azure-code-2023"], "workload", "azure-code-2023"),
    (["--columns", "prompt=a,output=b"], "workload_columns", {"prompt": "a", "output": "b"}),
    (["--arrival-cv2", "2.5"], "arrival_cv2", 2.5),
    (["--machine", "dgx-h100", "--machine", "dgx-h200"], "machines", ("dgx-h100", "dgx-h200")),
    (["--design", "Splitwise-HA"], "design", "Splitwise-HA"),
    (["--objective", "power"], "objective", "power"),
    (["--runtime", "splitwise-2023"], "runtime", "splitwise-2023"),
    (["--verify"], "verify", True),
    (["--verify-runs", "5"], "verify_runs", 5),
    (["--verify-requests", "2000"], "verify_requests", 2000),
    (["--prefix-cached", "25 %"], "prefix_cached", 0.25),
    (["--tokens-per-step", "1.8"], "tokens_per_step", 1.8),
    (["--draft-tokens", "2"], "draft_tokens", 2),
    (["--speculate", "1"], "speculate", 1),
    (["--acceptance", "80 %"], "acceptance", 0.8),
    (["--precision", "fp8"], "precision", "fp8"),
    (["--kv-precision", "fp8"], "kv_precision", "fp8"),
    (["--max-batch", "128"], "max_batch", 128),
    (["--batched-tokens", "4096"], "batched_tokens", 4096),
    (["--whole-prompts"], "chunked", False),
    (["--derate", "0.8"], "derate", 0.8),
    (["--network", "ethernet-25g"], "network", "ethernet-25g"),
    (["--oversubscription", "4"], "oversubscription", 4.0),
    (["--prompt-output-ratio", "5"], "prompt_output_ratio", 5.0),
    (["--preset", "splitwise"], "preset", "splitwise"),
    (["--reference-machine", "dgx-h100"], "reference_machine", "dgx-h100"),
    (["--prices", "a", "--prices", "b"], "prices", ("a", "b")),
    (["--region", "world", "--region", "aws=france"], "region", ("world", "aws=france")),
    (["--electricity", "110 USD/MWh"], "electricity_usd_per_kwh", 0.11),
    (["--pue", "1.2"], "pue", 1.2),
    (["--max-cost", "730000 USD/month"], "max_cost_usd_per_hour", 1000.0),
    (["--max-power", "300kW"], "max_power_w", 300e3),
    (["--max-machines", "dgx-h100=40", "--max-machines", "x=0"], "max_machines", {"dgx-h100": 40, "x": 0}),
    (["--max-total-machines", "9"], "max_total_machines", 9),
    (["--max-rack-units", "84"], "max_rack_units", 84),
    (["--quotes", "newest"], "quotes", "newest"),
    (["--max-pools", "2"], "max_pools", 2),
    (["--spares", "1"], "spares", 1),
    (["--max-utilisation", "80 %"], "max_utilisation", 0.8),
    (["--profile", "p.csv"], "profile", "p.csv"),
    (["--catalog", "mine", "--catalog", "yours"], "catalog", ("mine", "yours")),
    (["--exact"], "exact", True),
    (["--arrivals", "poisson"], "arrivals", "poisson"),
    (["--solver", "cbc"], "solver", "cbc"),
    (["--time-limit", "2min"], "time_limit_s", 120.0),
    (["--seed", "3"], "seed", 3),
    (["--plan", "reserved_1y"], "plan", ("reserved_1y",)),
]


@pytest.mark.parametrize(("arguments", "field", "value"), OPTIONS, ids=[o[1] for o in OPTIONS])
def test_each_option_sets_its_field(
    planner: Planner,
    asked: list[Scenario],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    field: str,
    value: object,
) -> None:
    monkeypatch.delenv("PLANNER_VERIFY")
    planner("optimize", *arguments)
    assert asked[0].model_fields_set == {field}
    assert getattr(asked[0], field) == pytest.approx(value)


def test_every_field_of_a_scenario_has_its_option() -> None:
    # A think time is that of users, and a day that of a rate: they come together.
    together = {"users", "think_time_s", "day", "prompt_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s"}
    # What studies suppose has no option.
    assert {field for _, field, _ in OPTIONS} | {"slo", "suppose"} | together == set(Scenario.model_fields)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (("--users", "500", "--think-time", "20s"), {"users": 500, "think_time_s": 20.0}),
        (("--rate", "1M/day", "--day", "office"), {"rate_per_s": 1e6 / 86400, "day": "office"}),
        (("--rate", "6000 output tokens/s"), {"output_tokens_per_s": 6000.0}),
    ],
)
def test_loads_in_other_words(
    planner: Planner, asked: list[Scenario], arguments: tuple[str, ...], fields: dict[str, object]
) -> None:
    planner("optimize", *arguments)
    for name, value in fields.items():
        assert getattr(asked[0], name) == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_load_on_the_command_line_goes_before_one_of_the_environment(
    planner: Planner, asked: list[Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANNER_RATE", "5/s")
    planner("optimize", "--users", "9", "--think-time", "1s")
    assert (asked[0].rate_per_s, asked[0].users) == (None, 9)
    monkeypatch.setenv("PLANNER_USERS", "3")
    planner("optimize", "--rate", "7/s")
    assert (asked[-1].rate_per_s, asked[-1].users) == (7.0, None)


def test_slo_repeats_and_knows_presets(planner: Planner, asked: list[Scenario]) -> None:
    planner("optimize", "--slo", "ttft=1s", "--slo", "tpot.p50=40ms")
    planner("optimize", "--slo", "splitwise")
    assert [str(o) for o in asked[0].slo] == ["ttft.p99=1s", "tbt.p50=40ms"]
    assert len(asked[1].slo) == 9


def test_flag_beats_environment_beats_file_beats_default(
    planner: Planner, asked: list[Scenario], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("rate: 10/s\nmodel: qwen3-8b\nspares: 1\n")
    monkeypatch.setenv("PLANNER_RATE", "20/s")
    monkeypatch.setenv("PLANNER_MODEL", "qwen3-32b")
    monkeypatch.setenv("PLANNER_MACHINE", "dgx-h100 dgx-h200")
    planner("optimize", file, "--rate", "30/s")
    scenario = asked[0]
    assert (scenario.rate_per_s, scenario.model, scenario.spares) == (30.0, "qwen3-32b", 1)
    assert scenario.machines == ("dgx-h100", "dgx-h200")
    assert scenario.runtime == Scenario().runtime


def test_bad_input_in_the_environment_names_the_variable(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_MAX_COST", "12 EUR/h")
    assert planner("optimize", code=2).err.startswith("error: PLANNER_MAX_COST: currency EUR is not supported")
    monkeypatch.setenv("PLANNER_MAX_COST", "-12 USD/h")
    assert planner("optimize", code=2).err.startswith("error: PLANNER_MAX_COST: must be greater than 0")


@pytest.mark.parametrize(
    ("arguments", "message", "more"),
    [
        (["--rate", "-5/s"], "--rate: must be greater than 0", "-5/s"),
        (["--rate", "0/s"], "--rate: must be greater than 0", "0/s"),
        (["--rate", "nan/s"], "--rate: not a rate", "70/s"),
        (["--rate", "inf/s"], "--rate: not a rate", "70/s"),
        (["--rate", "1e999/s"], "--rate: a rate must be a finite number", "1e999/s"),
        (["--rate", "1e12/s"], "--rate: 1e+12 requests/s is more than all the world sends", "1e12/s"),
        (["--rate", "70"], "--rate: a rate needs its unit", "write it like 70/s"),
        (["--rate", "70 GB"], "--rate: expected a rate, got 'GB', which is a data size", "70/s"),
        (["--region", "frnce"], "--region: unknown region 'frnce'", "france"),
        (["--region", "awss=france"], "--region: unknown site 'awss'", "aws"),
        (["--region", "=france"], "--region: not a region", "SITE=REGION"),
        (["--pue", "0.9"], "--pue: must be greater than or equal to 1", "0.9"),
        (["--electricity", "-0.1 USD/kWh"], "--electricity: must be greater than or equal to 0", "-0.1"),
        (["--electricity", "0.1"], "--electricity: a price of electricity needs its unit", "0.086 USD/kWh"),
        (["--electricity", "0.1 EUR/kWh"], "--electricity: 'EUR/kWh' is not a unit of price of electricity", "USD"),
        (["--slo", "ttft.p100=1s"], "--slo: percentile p100 is out of range", "below 100"),
        (["--slo", "ttft.p0=1s"], "--slo: percentile p0 is out of range", "above 0"),
        (["--slo", "tttf=1s"], "--slo: unknown metric 'tttf'", "ttft"),
        (["--slo", "ttft=0s"], "--slo: limit 0s is not positive", "ttft=0s"),
        (["--slo", "ttft=1s", "--slo", "ttft=2s"], "--slo: two limits for TTFT p99", "keep"),
        (["--model", "llama-3.1-70"], "--model: unknown model 'llama-3.1-70'", "llama-3.1-70b"),
        (["--machine", "dgx-h10"], "--machine: unknown machine 'dgx-h10'", "dgx-h100"),
        (["--runtime", "vlm-2026"], "--runtime: unknown runtime 'vlm-2026'", "vllm-2026"),
        (["--workload", "azure-conv"], "--workload: unknown workload 'azure-conv'", "azure-conv-2023"),
        (["--design", "Splitwise-HX"], "--design: unknown design 'Splitwise-HX'", "Splitwise-HH"),
        (["--objective", "coast"], "--objective: must be 'cost'", "did you mean: cost"),
        (["--precision", "fp61"], "--precision: must be", "did you mean: fp16"),
        (["--solver", "cplex"], "--solver: must be 'highs' or 'cbc'", "cplex"),
        (["--spares", "-1"], "--spares: must be greater than or equal to 0", "-1"),
        (["--arrival-cv2", "nan"], "--arrival-cv2: not a number", "nan"),
        (["--max-utilisation", "1.2"], "--max-utilisation: must be less than or equal to 1", "1.2"),
        (["--time-limit", "60"], "--time-limit: a time needs its unit", "200ms"),
        (["--max-cost", "000/h"], "--max-cost: expected a price per hour", "'1000 USD/h'"),
        (["--max-power", "300"], "--max-power: a power needs its unit", "kW"),
        (["--max-machines", "dgx-h100"], "--max-machines: not a stock", "dgx-h100=40"),
        (["--max-machines", "dgx-h10=4"], "--max-machines: unknown machine or accelerator 'dgx-h10'", "dgx-h100"),
        (["--max-machines", "a=1", "--max-machines", "a=2"], "--max-machines: the stock of a is given twice", "a=2"),
        (["--columns", "promt=a"], "--columns: unknown column role 'promt'", "prompt"),
        (["--objective", "throughput"], "--objective: throughput needs something that bounds it", "--max-cost"),
        (["--catalog", "/no/such"], "/no/such: this catalog", ""),
        (["--profile", "/no/such.csv"], "/no/such.csv", ""),
        (["/no/such.yaml"], "/no/such.yaml: cannot read the file", ""),
    ],
)
def test_bad_input_says_where_and_exits_with_2(planner: Planner, arguments: list[str], message: str, more: str) -> None:
    shown = planner("optimize", *arguments, code=2)
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}"), shown.err
    assert more in shown.err


def test_bad_input_in_the_scenario_file_names_its_line(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for text, line, message in (
        ("model: qwen3-32b\nrate: -5/s\n", 2, "rate: must be greater than 0"),
        ("model: qwen3-32b\n\nrates: 5/s\n", 3, "rates: unknown field"),
        ("slo: [ttft=1s]\nmodel: qwen3-31b\n", 2, "unknown model 'qwen3-31b'"),
        ("rate: 70\n", 1, "rate: a rate needs its unit"),
        ("max_cost: 10 USD/h\nmax_cost: 11 USD/h\n", 2, "duplicate key"),
    ):
        file.write_text(text)
        shown = planner("optimize", file, code=2)
        assert shown.err.startswith(f"error: {file}:{line}: "), shown.err
        assert message in shown.err


def test_a_flag_over_a_file_is_blamed_for_its_own_value(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("rate: 5/s\nmodel: qwen3-32b\n")
    assert planner("optimize", file, "--rate", "-5/s", code=2).err.startswith("error: --rate: must be greater than 0")
    assert planner("optimize", file, "--model", "qwen3-33b", code=2).err.startswith("error: --model: unknown model")


def test_infeasible_budget_names_the_option_and_what_is_enough(planner: Planner) -> None:
    shown = planner("optimize", "--max-cost", "50 USD/h", *PAIR, code=3)
    assert "--max-cost: $50.00/h is too little" in shown.err
    assert "is enough" in shown.err
    assert "--rate: 70/s is too much" in shown.err


def test_an_objective_below_the_unloaded_latency_names_it_and_what_can_be_reached(planner: Planner) -> None:
    shown = planner("optimize", "--slo", "ttft=1ms", code=3)
    assert shown.err.startswith("error: --slo: ")
    assert "TTFT p99 <= 1 ms: at best" in shown.err


def test_a_model_that_does_not_fit_is_refused_with_both_byte_counts(planner: Planner) -> None:
    arguments = ["--model", "llama-2-70b", "--machine", "8x-rtx-2080-ti", "--objective", "power"]
    shown = planner("optimize", *arguments, code=3)
    assert "does not fit 8 x rtx-2080-ti" in shown.err
    assert "needs 1" in shown.err
    assert f"has {8 * 11264 * 2**20:,} bytes" in shown.err


def test_a_time_limit_too_short_to_prove_anything_exits_with_4(planner: Planner) -> None:
    shown = planner("optimize", "--time-limit", "1us", "--rate", "300/s", *PAIR, code=4)
    assert "found, not proven" in shown.out
    text = " ".join(shown.out.split())
    assert "NOT proven: stopped at its time limit" in text
    assert "nothing is better than $" in text


def test_output_goes_whole_into_the_file(planner: Planner, asked: list[Scenario], tmp_path: Path, plan: Plan) -> None:
    file = tmp_path / "plan.json"
    shown = planner("optimize", "--output", file)
    assert shown.out == ""
    stale, wrote = shown.err.splitlines()
    assert stale.startswith("warning: the prices of splitwise-2023 are") and "(2023-11-30)" in stale
    assert wrote == f"wrote {file}"
    assert Plan.model_validate_json(file.read_text()) == plan
    planner("optimize", "--output", tmp_path / "plan.csv", "--quiet")
    assert (tmp_path / "plan.csv").read_text().startswith("design,")
    planner("optimize", "--output", tmp_path / "plan.txt", "--format", "json", "--quiet")
    assert json.loads((tmp_path / "plan.txt").read_text())["design"] == plan.design
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["plan.csv", "plan.json", "plan.txt"]


def test_unwritable_output_is_told_before_any_work(planner: Planner, asked: list[Scenario], tmp_path: Path) -> None:
    shown = planner("optimize", "--output", tmp_path / "none" / "plan.json", code=2)
    assert "the folder does not exist" in shown.err
    assert "this is a folder" in planner("optimize", "--output", tmp_path, code=2).err
    assert asked == []


def test_a_plan_is_proven_by_simulation_unless_told_not_to(
    planner: Planner, asked: list[Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    planner("optimize")  # the environment of these tests says no
    planner("optimize", "--verify")
    monkeypatch.delenv("PLANNER_VERIFY")
    planner("optimize")
    planner("optimize", "--no-verify")
    assert [scenario.verify for scenario in asked] == [False, True, True, False]


def test_a_plan_that_simulation_does_not_confirm_has_its_exit_code(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.planning.certify.MOST_ROUNDS", 1)
    arguments = ["--rate", "3/s", "--slo", "ttft=300ms", "--design", "Baseline-H100", "--verify-requests", "4000"]
    shown = planner("optimize", "--verify", *arguments, code=4)
    assert "Least cost found, not proven" in shown.out
    assert "NOT confirmed by simulation (3 x 4,000 requests simulated)" in " ".join(shown.out.split())
    assert "MISSED" in shown.out


def test_no_colour_and_no_progress_away_from_a_terminal(planner: Planner) -> None:
    shown = planner("optimize")
    assert "\x1b" not in shown.out + shown.err


@pytest.mark.parametrize("option", ["--verify-runs", "--verify-requests"])
def test_a_simulation_is_not_described_and_left_out(planner: Planner, option: str) -> None:
    refused = planner("optimize", "--no-verify", option, "3", code=2).err
    assert refused.startswith(f"error: {option}: {option} is of a simulation, and --no-verify leaves it out")
    assert "fix:   leave out --no-verify" in refused


def test_a_trace_in_the_place_of_a_scenario(planner: Planner, tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    trace.write_text("prompt_tokens,output_tokens\n10,20\n")
    refused = planner("optimize", trace, code=2).err
    assert "this is a trace, not a scenario" in refused and f"--workload {trace}" in refused
