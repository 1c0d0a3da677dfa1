"""`planner workload`: list, describe and fit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Planner = Callable[..., Any]
ROWS = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:17:{i:02d}.0000000,{100 + 37 * i % 500},{1 + 7 * i % 40}\n" for i in range(60)
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "mine.csv"
    file.write_text(ROWS)
    return file


def test_list_names_the_workloads(planner: Planner) -> None:
    assert "azure-conv-2023" in planner("workload", "list").out
    assert {r["name"] for r in json.loads(planner("workload", "list", "--format", "json").out)} >= {"azure-code-2023"}


def test_describe_a_trace(planner: Planner, trace: Path) -> None:
    shown = planner("workload", "describe", trace).out
    assert shown.startswith("mine: 60 requests in 59.0 s, 1 requests/s")
    record = json.loads(planner("workload", "describe", trace, "--format", "json").out)
    (row,) = csv.DictReader(io.StringIO(planner("workload", "describe", trace, "--format", "csv").out))
    assert record["n_requests"] == int(row["n_requests"]) == 60
    assert record["prompt_tokens"]["mean"] == float(row["prompt_tokens_mean"])
    assert f"{record['prompt_tokens']['mean']:,.0f}" in shown


def test_describe_a_workload_of_the_catalog(planner: Planner) -> None:
    shown = planner("workload", "describe", "azure-conv-2023").out
    assert "a distribution of request sizes" in shown
    assert "Arrivals" in shown


def test_a_fitted_trace_is_a_workload_to_plan_with(planner: Planner, trace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cat" / "workloads"
    folder.mkdir(parents=True)
    planner("workload", "describe", trace, "--fit", "mine", "--output", folder / "mine.yaml", "--quiet")
    planner("catalog", "lint", tmp_path / "cat")
    arguments = ["--catalog", tmp_path / "cat", "--workload", "mine", "--machine", "dgx-h100", "--format", "json"]
    assert json.loads(planner("optimize", *arguments).out)["workload"] == "mine"
    assert "mine" in planner("workload", "list", "--catalog", tmp_path / "cat").out


def test_a_fit_has_a_source_and_a_name(planner: Planner, trace: Path, tmp_path: Path) -> None:
    text = planner("workload", "describe", trace, "--fit", "mine", "--title", "Mine", "--source", "my logs").out
    assert "title: Mine\n" in text
    assert "source: my logs\n" in text
    shown = planner("workload", "describe", trace, "--fit", "mine", "--output", tmp_path / "other.yaml", code=2)
    assert "--output: a catalog file has the name of its workload" in shown.err
    assert "--format" in planner("workload", "describe", trace, "--fit", "mine", "--format", "csv", code=2).err
    assert "--fit" in planner("workload", "describe", trace, "--title", "Mine", code=2).err
    assert "is a workload already" in planner("workload", "describe", "azure-conv-2023", "--fit", "x", code=2).err


def test_columns_of_other_names(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("a,b\n10,5\n20,6\n")
    assert "no column holds the prompt tokens" in planner("workload", "describe", file, code=2).err
    assert planner("workload", "describe", file, "--columns", "prompt=a,output=b").out.startswith("odd: 2 requests")
    shown = planner("workload", "describe", file, "--columns", "prompt=a,outptu=b", code=2)
    assert shown.err.startswith("error: --columns: unknown column role 'outptu'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.csv"),
        (b"ContextTokens,GeneratedTokens\n", "mine.csv"),
        (b"ContextTokens,GeneratedTokens\n10,5\n10\n", "mine.csv:3"),
        (b"ContextTokens,GeneratedTokens\n10,0\n", "mine.csv:2: GeneratedTokens is zero"),
        (b"ContextTokens,GeneratedTokens\n10,\xff\xfe\n", "mine.csv"),
    ],
)
def test_unusable_traces_name_the_line(planner: Planner, trace: Path, content: bytes, message: str) -> None:
    trace.write_bytes(content)
    for command in (["workload", "describe", trace], ["optimize", "--workload", trace]):
        shown = planner(*command, code=2)
        assert shown.out == ""
        assert message in shown.err.splitlines()[0]


def test_unknown_names(planner: Planner) -> None:
    assert "azure-conv-2023" in planner("workload", "describe", "azure-cnv-2023", code=2).err
    assert "trace file not found" in planner("workload", "describe", "/no/such.csv", code=2).err
