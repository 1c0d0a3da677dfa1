"""What `import planner` offers: stable names, documented, loaded when first used."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import planner
from planner import errors

STABLE = {
    "Alternatives", "Assignment", "Catalog", "CatalogError", "Cluster", "Comparison", "CostReport", "DoesNotFitError",
    "Estimate", "Fleet", "Frontier", "InfeasibleError", "InputError", "NoPlanFoundError", "ObjectiveUnreachableError",
    "OutputError", "Plan", "PlannerError", "Procurement", "Robustness", "Scenario", "ScenarioError", "TraceError",
    "UnitError", "UnknownNameError", "__version__", "alternatives", "assign", "compare", "cost", "estimate",
    "evaluate", "export_workbook", "frontier", "hardware_fit", "network_map", "optimize", "procure",
    "provisioning_map", "read_plan", "regime_map", "robustness", "Sensitivity", "SimulationReport", "Sweep",
    "sensitivity", "simulate", "sweep", "Why", "why", "Deployment", "deploy", "Validation", "validate",
    "Difference", "diff", "Scaling", "scale",
}  # fmt: skip
FUNCTIONS = (
    "alternatives", "assign", "compare", "cost", "deploy", "diff", "estimate", "evaluate", "export_workbook",
    "frontier", "hardware_fit", "network_map", "optimize", "procure", "provisioning_map", "read_plan", "regime_map",
    "robustness", "scale", "sensitivity", "simulate", "sweep", "validate", "why",
)  # fmt: skip


def test_no_stable_name_has_gone() -> None:
    assert set(planner.__all__) >= STABLE


def test_every_name_is_there_and_documented() -> None:
    assert sorted(planner.__all__) == sorted(set(planner.__all__)) == dir(planner)
    for name in planner.__all__:
        thing = getattr(planner, name)
        if name != "__version__":
            assert inspect.getdoc(thing), name


def test_every_public_function_is_in_the_list_that_is_checked() -> None:
    functions = {name for name in planner.__all__ if inspect.isfunction(getattr(planner, name))}
    assert functions == set(FUNCTIONS)


def test_what_functions_return_is_public_and_typed() -> None:
    for name in FUNCTIONS:
        returned = inspect.signature(getattr(planner, name)).return_annotation
        assert returned in {"Path", "None", "bytes"} or str(returned).rpartition(".")[2] in planner.__all__, (
            name,
            returned,
        )


def test_a_folder_is_a_catalog_in_every_call(tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "offer.yaml").write_text(
        "on_demand: {dgx-h100: 1 USD/h}\nsource: offer\nkind: quote\ndate: 2026-11-01\nprovider: us\n"
    )
    taking = [name for name in FUNCTIONS if "catalog" in inspect.signature(getattr(planner, name)).parameters]
    assert {"estimate", "hardware_fit", "optimize", "network_map", "sensitivity", "procure"} <= set(taking)
    for catalog in (str(tmp_path), tmp_path, [tmp_path]):
        assert planner.estimate(machine="dgx-h100", catalog=catalog).latency_s > 0
        (row,) = planner.hardware_fit(machines=["dgx-h100"], catalog=catalog).machines
        assert row.usd_per_hour == 1.0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="optimise"):
        planner.optimise  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_tell_parameters_results_and_errors(name: str) -> None:
    function = getattr(planner, name)
    text = inspect.getdoc(function) or ""
    for section in ("Parameters", "Returns", "Raises"):
        assert re.search(rf"^{section}\n-+$", text, re.MULTILINE), f"{name}: no section {section}"
    described = text[: text.index("\nReturns\n")]
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"\b{parameter}\b", described), f"{name}: {parameter} is not described"


def test_signatures_that_callers_rely_on() -> None:
    assert list(inspect.signature(planner.assign).parameters)[:4] == [
        "request_rates", "capacities", "prices", "max_counts",
    ]  # fmt: skip
    known = set(inspect.signature(planner.estimate).parameters)
    assert {"model", "machine", "tensor_parallel", "precision", "phase", "batch", "tokens", "runtime"} <= known
    assert next(iter(inspect.signature(planner.optimize).parameters)) == "scenario"
    assert list(inspect.signature(planner.evaluate).parameters)[:2] == ["cluster", "scenario"]


def test_results_have_the_fields_that_callers_rely_on() -> None:
    assert {"latency_s", "bound", "breakdown"} <= set(planner.Estimate.model_fields)
    assert {"cost_usd_per_hour", "power_w", "pools", "predicted", "solver"} <= set(planner.Plan.model_fields)
    assert {"counts", "routing", "cost_usd_per_hour", "bound", "gap", "status"} <= set(planner.Assignment.model_fields)
    for result in (
        planner.Plan,
        planner.Estimate,
        planner.Assignment,
        planner.Comparison,
        planner.Frontier,
        planner.Alternatives,
    ):
        assert callable(result.to_records)


def test_the_tree_of_errors_is_the_one_in_the_docstring() -> None:
    """Names, indentation and exit codes of the docstring, line by line, against the classes."""
    tree = re.findall(r"^ {4}([| `-]*)(\w+Error)( +\d)?", errors.__doc__ or "", re.MULTILINE)
    documented: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for branch, name, code in tree:
        while path and path[-1][0] >= len(branch):
            path.pop()
        documented[name] = path[-1][1] if path else None
        path.append((len(branch), name))
        if code:
            assert getattr(errors, name).exit_code == int(code), name
    classes = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, Exception)}
    assert documented == {
        name: None if kind is errors.PlannerError else kind.__mro__[1].__name__ for name, kind in classes.items()
    }
    assert set(classes) <= set(planner.__all__)


HEAVY = ("numpy", "scipy", "pulp", "highspy", "pydantic", "rich", "typer", "ruamel")


def _loaded_by(code: str, shell: Any, folder: Path) -> set[str]:
    script = folder / "loaded.py"
    script.write_text(
        f"import contextlib, io, sys\nwith contextlib.redirect_stdout(io.StringIO()):\n    {code}\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n",
        encoding="utf-8",
    )
    return set(shell(f"python {script}", cwd=folder).stdout.split())


def test_import_planner_costs_nothing(shell: Any, tmp_path: Path) -> None:
    assert not _loaded_by("import planner", shell, tmp_path) & set(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["catalog", "list"], ["optimize", "--help"]])
def test_looking_around_loads_no_solver(arguments: list[str], shell: Any, tmp_path: Path) -> None:
    loaded = _loaded_by(f"from planner.cli.main import run; assert run({arguments}) == 0", shell, tmp_path)
    assert "typer" in loaded
    assert not loaded & {"scipy", "pulp", "highspy"}


def test_the_main_job_does_without_scipy(shell: Any, tmp_path: Path) -> None:
    loaded = _loaded_by("import planner; planner.optimize(slo='ttft=1s')", shell, tmp_path)
    assert "highspy" in loaded
    assert "scipy" not in loaded
