"""The committed JSON schemas are current, and every shipped file uses only keys they know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.catalog import json_schema
from planner.catalog.catalog import Catalog
from planner.catalog.folders import builtin_folders
from planner.catalog.json_schema import catalog_json_schemas, schema_text, unit_at
from planner.catalog.schema import BY_FOLDER, ENTRY_TYPES

COMMITTED = Path(__file__).resolve().parents[2] / "hardware_catalog" / "schema"
SCHEMAS = catalog_json_schemas()


@pytest.mark.skipif(not COMMITTED.is_dir(), reason="not run from a source tree")
@pytest.mark.parametrize("folder", BY_FOLDER)
def test_committed_schemas_are_current(folder: str) -> None:
    """Renew them with `python -m planner.catalog.json_schema hardware_catalog/schema`."""
    assert json.loads((COMMITTED / f"{folder}.schema.json").read_text(encoding="utf-8")) == SCHEMAS[folder]


def unknown_keys(data: Any, nodes: list[dict[str, Any]], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield what a validator of `additionalProperties` and `propertyNames` would refuse."""
    members: list[dict[str, Any]] = []
    while nodes:
        node = nodes.pop()
        if "$ref" in node:
            nodes.append(root["$defs"][node["$ref"].rsplit("/", 1)[1]])
        elif "anyOf" in node:
            nodes.extend(node["anyOf"])
        else:
            members.append(node)
    if isinstance(data, list):
        for n, value in enumerate(data):
            yield from unknown_keys(value, [m["items"] for m in members if "items" in m], root, f"{path}[{n}]")
    for key, value in data.items() if isinstance(data, dict) else ():
        below = []
        for member in members:
            more = member.get("additionalProperties")
            if key in member.get("properties", {}):
                below.append(member["properties"][key])
            elif isinstance(more, dict) and key in member.get("propertyNames", {}).get("enum", [key]):
                below.append(more)
        if below:
            yield from unknown_keys(value, below, root, f"{path}.{key}")
        else:
            yield f"{path}.{key}"


def test_every_shipped_file_uses_known_keys() -> None:
    catalog = Catalog()
    n_files = 0
    for kind in ENTRY_TYPES:
        for name in catalog.names(kind):
            n_files += 1
            data = catalog.layers_of(kind, name)[0].data
            schema = SCHEMAS[kind.folder]
            assert list(unknown_keys(data, [schema], schema)) == [], (kind.folder, name)
            assert {"source", "kind"} <= data.keys()
    assert n_files > 50


@pytest.mark.parametrize("kind", ENTRY_TYPES)
def test_a_schema_knows_the_fields_of_its_model_but_the_name(kind: Any) -> None:
    aliases = {field.alias or name for name, field in kind.model_fields.items()} - {"name"}
    schema = SCHEMAS[kind.folder]
    assert schema["properties"].keys() == aliases
    assert schema["required"] == ["source", "kind"]
    assert schema["additionalProperties"] is False
    assert "overlay" in schema["description"]


def test_wrong_keys_would_be_found() -> None:
    schema = SCHEMAS["accelerators"]
    data = {"peak": {"bf17": "1 TFLOP/s", "fp8": "1 TFLOP/s"}, "scale_up": {"bandwith": 1}, "name": "x"}
    assert list(unknown_keys(data, [schema], schema)) == [".peak.bf17", ".scale_up.bandwith", ".name"]


def test_nothing_but_the_header_is_required_of_a_partial_file() -> None:
    text = json.dumps(SCHEMAS)
    assert text.count('"required"') == len(SCHEMAS)
    assert '"oneOf"' not in text


def test_base_units() -> None:
    assert unit_at("accelerators", ["memory_bandwidth"]) == "bytes/s"
    assert unit_at("accelerators", ["peak", "fp8"]) == "FLOP/s"
    assert unit_at("accelerators", ["scale_up", "bandwidth"]) == "bytes/s"
    assert unit_at("prices", ["on_demand", "aws-g5.48xlarge"]) == "USD/h"
    assert unit_at("runtimes", ["accelerators", "h100-sxm", "kernel_launch"]) == "s"
    assert unit_at("models", ["attention", "n_heads"]) is None
    assert unit_at("models", ["nothing"]) is None


def test_writing_the_schemas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json_schema.main([str(tmp_path / "schema")]) == 0
    for folder, schema in SCHEMAS.items():
        assert (tmp_path / "schema" / f"{folder}.schema.json").read_text(encoding="utf-8") == schema_text(schema)
    assert len(capsys.readouterr().out.splitlines()) == len(SCHEMAS)
    assert json_schema.main([]) == 2


def test_every_kind_has_a_shipped_folder() -> None:
    assert builtin_folders().keys() == SCHEMAS.keys() == BY_FOLDER.keys()
