"""The layers of `pyproject.toml`, checked on the sources themselves.

`lint-imports` checks the same contract on the import graph; this test needs nothing but the standard library, says
which line breaks it, and runs wherever the tests run.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def contracts(repository: Path) -> list[dict[str, Any]]:
    settings = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def height(contracts: list[dict[str, Any]]) -> dict[str, int]:
    """Room -> its layer, 0 at the bottom; rooms of one layer must not import each other."""
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = [[room.strip(" ()") for room in row.split("|")] for row in layers]
    return {room: level for level, row in enumerate(reversed(rows)) for room in row}


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import of planner's own that runs: those for type checkers alone do not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _sources(repository: Path) -> list[tuple[str, Path]]:
    """Room and path of every module but the package's own `__init__`, `__main__` and `_version`."""
    folder = repository / "planner"
    found = [(p.relative_to(folder).parts[0].removesuffix(".py"), p) for p in sorted(folder.rglob("*.py"))]
    return [(room, path) for room, path in found if not room.startswith("_")]


def test_every_room_has_its_layer(repository: Path, height: dict[str, int]) -> None:
    assert {room for room, _ in _sources(repository)} <= set(height)


def test_a_room_imports_only_from_rooms_below(repository: Path, height: dict[str, int]) -> None:
    broken = []
    for room, path in _sources(repository):
        for line, name in _imports(path):
            parts = name.split(".")
            if parts[0] != "planner" or parts[1] in (room, "_version"):
                continue
            # `from planner import units` is a room, `from planner import optimize` is the public face.
            if parts[1] not in height:
                broken.append(f"{path.relative_to(repository)}:{line}: imports the public face ({name})")
            elif height[parts[1]] >= height[room]:
                broken.append(f"{path.relative_to(repository)}:{line}: {room} imports {name}")
    assert not broken, "\n".join(broken)


def test_scipy_and_solvers_each_in_one_room(repository: Path) -> None:
    for room, path in _sources(repository):
        for line, name in _imports(path):
            where = f"{path.relative_to(repository)}:{line}: {name}"
            assert name.split(".")[0] != "scipy" or path.name == "least_squares.py", where
            assert name.split(".")[0] not in ("pulp", "highspy") or room == "optimization", where
