"""JSON Schema of every kind of catalog file, for editors.

`python -m planner.catalog.json_schema DIR` writes them; a YAML file names its own in a first line such as
`# yaml-language-server: $schema=../schema/machines.schema.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog.schema import BY_FOLDER, ENTRY_TYPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Editors check one file at a time, and one file may be an overlay that sets a single field. So the schemas ask
# only for what every file must have; whether the merged whole is complete is for planner to say.
_PARTIAL = (
    "One schema serves complete files and overlays, which set only what they change: it requires `source` and "
    "`kind` alone. `planner catalog lint` checks that nothing is missing once all layers are merged. The name of "
    "the entry is the name of the file."
)


def catalog_json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of a file in each folder of a catalog.

    Returns
    -------
    dict
        Folder to schema: fields by the names that YAML uses, quantities as text with `x-unit`, the unit they
        are read into. `required` holds only `source` and `kind`, since an overlay file is partial.
    """
    schemas = {}
    for kind in ENTRY_TYPES:
        schema = _relaxed(kind.model_json_schema(by_alias=True, mode="validation"))
        del schema["properties"]["name"]
        schema["required"] = ["source", "kind"]
        schema["description"] = f"{schema.get('description', '').strip()}\n\n{_PARTIAL}".strip()
        schemas[kind.folder] = {"$schema": DIALECT, "title": f"planner catalog: {kind.folder}", **schema}
    return schemas


def schema_line(folder: str) -> str:
    """Return the first line of a file in `folder` by which an editor finds the schema beside the catalog's folders."""
    return f"# yaml-language-server: $schema=../schema/{folder}.schema.json\n"


def schema_text(schema: dict[str, Any]) -> str:
    """Return a schema as it is written to its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(directory: Path) -> list[Path]:
    """Write `<folder>.schema.json` of every kind into `directory` and return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for folder, schema in catalog_json_schemas().items():
        path = directory / f"{folder}.schema.json"
        path.write_text(schema_text(schema), encoding="utf-8")
        paths.append(path)
    return paths


def unit_at(folder: str, path: Sequence[str | int]) -> str | None:
    """Return the base unit that the value at `path` of a file in `folder` is read into; None if it has none."""
    root = _schema_of(folder)
    nodes: list[dict[str, Any]] = [root]
    for part in path:
        nodes = [below for node in nodes for member in _members(node, root) for below in _below(member, part)]
    units = [member["x-unit"] for node in nodes for member in _members(node, root) if "x-unit" in member]
    return units[0] if units else None


@cache
def _schema_of(folder: str) -> dict[str, Any]:
    return BY_FOLDER[folder].model_json_schema(by_alias=True, mode="validation")


def _members(node: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the alternatives of a schema node, references resolved."""
    if "$ref" in node:
        yield from _members(root["$defs"][node["$ref"].rsplit("/", 1)[1]], root)
        return
    yield node
    for member in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _members(member, root)


def _below(node: dict[str, Any], part: str | int) -> Iterator[dict[str, Any]]:
    if part in node.get("properties", {}):
        yield node["properties"][part]
    elif isinstance(node.get("additionalProperties"), dict):
        yield node["additionalProperties"]
    elif isinstance(node.get("items"), dict):
        yield node["items"]


def _relaxed(schema: Any) -> Any:
    """Drop what a partial file cannot meet (`required`, `oneOf` told apart by it) and titles that say nothing."""
    if isinstance(schema, list):
        return [_relaxed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            out[key] = {name: _relaxed(field) for name, field in value.items()}
        elif key == "oneOf":
            out["anyOf"] = _relaxed(value)
        elif key not in ("required", "discriminator", "title"):
            out[key] = _relaxed(value)
    return out


def main(arguments: Sequence[str]) -> int:
    """Write the schemas into the folder given."""
    if len(arguments) != 1:
        print("usage: python -m planner.catalog.json_schema DIR", file=sys.stderr)
        return 2
    for path in write(Path(arguments[0])):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
