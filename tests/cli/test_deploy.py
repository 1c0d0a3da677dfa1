"""`planner deploy`: the bundle on disk, the printed commands, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Planner = Callable[..., Any]


@pytest.fixture
def plan(planner: Planner, tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    planner("optimize", "--rate", "20/s", "--machine", "dgx-h100", "--format", "json", "--output", file)
    return file


def test_a_bundle_and_back(planner: Planner, plan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    assert "wrote" in planner("deploy", plan, "--for", "dynamo", "--output", folder).err
    assert {p.name for p in folder.iterdir()} >= {"README.md", "plan.json", "manifests", "load.jsonl", "benchmark.sh"}
    before, after = planner("evaluate", plan).out, planner("evaluate", folder).out
    assert after == before


def test_printed(planner: Planner, plan: Path) -> None:
    text = planner("deploy", plan, "--for", "vllm").out
    assert "vllm serve meta-llama/Llama-3.1-70B" in text and "Left to do" in text
    found = json.loads(planner("deploy", plan, "--for", "vllm", "--format", "json").out)
    assert found["target"] == "vllm" and "manifests/" in " ".join(found["files"])
    assert planner("deploy", plan, "--for", "vllm", "--format", "csv").out.startswith("target,")


def test_bad_input(planner: Planner, plan: Path, tmp_path: Path) -> None:
    assert "did you mean: kserve" in planner("deploy", plan, "--for", "kserv", code=2).err
    assert "which is vllm, not sglang" in planner("deploy", plan, "--for", "sglang", code=2).err
    assert "cannot read" in planner("deploy", tmp_path / "none.json", "--for", "vllm", code=2).err
