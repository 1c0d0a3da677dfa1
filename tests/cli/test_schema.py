"""`planner schema`, and the schema in docs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.cli.schema import NAMES
from planner.planning.plan import PLAN_SCHEMA_VERSION, Plan

Planner = Callable[..., Any]
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.skipif(not DOCS.is_dir(), reason="no docs beside these tests")
@pytest.mark.parametrize("name", ["plan", "simulation"])
def test_the_schema_in_docs_is_current(planner: Planner, name: str) -> None:
    file = DOCS / f"{name}.schema.json"
    assert file.read_text() == planner("schema", name).out, f"planner schema {name} --output docs/{name}.schema.json"


@pytest.mark.parametrize("name", [*NAMES, "machines", "workloads"])
def test_each_schema_names_its_dialect_and_fields(planner: Planner, name: str) -> None:
    schema = json.loads(planner("schema", name).out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["properties"]


def test_the_schema_of_a_plan_has_every_field_that_a_plan_prints(planner: Planner) -> None:
    schema = json.loads(planner("schema").out)
    printed = json.loads(planner("optimize", "--slo", "ttft=1s", "--format", "json").out)
    assert set(printed) == set(schema["properties"]) == set(schema["required"]) == set(Plan.model_fields)
    assert schema["properties"]["schema_version"]["default"] == printed["schema_version"] == PLAN_SCHEMA_VERSION
    for field, definition in (("pools", "PoolPlan"), ("predicted", "Prediction"), ("prices", "PriceUsed")):
        assert set(printed[field][0]) == set(schema["$defs"][definition]["properties"])


def test_an_unknown_schema_gets_near_misses(planner: Planner) -> None:
    assert "did you mean: plan?" in planner("schema", "plann", code=2).err
