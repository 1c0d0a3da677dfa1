"""Habits of the house, read off the sources: small modules, and tests that know only what is public."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MOST_LINES = 500
ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "planner").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_no_module_is_longer_than_a_few_pages() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of everything private that a test takes from `planner`."""
    found, modules = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "planner":
            found += [(node.lineno, alias.name) for alias in node.names if is_private(alias.name)]
            modules |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or "planner" for alias in node.names if alias.name.split(".")[0] == "planner"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in modules:
                found.append((node.lineno, node.attr))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("setattr", "delattr"):
            for argument in node.args[:2]:
                text = argument.value if isinstance(argument, ast.Constant) else ""
                found += [(node.lineno, word) for word in str(text).split(".") if is_private(word)]
    return found


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT / "tests")))
def test_tests_read_no_private_names(path: Path) -> None:
    assert private_names_of(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_a_private_name_is_seen() -> None:
    text = "from planner import units as u\nfrom planner.errors import _x\nu._table\nmonkeypatch.setattr(u, '_y', 1)\n"
    assert [name for _, name in private_names_of(ast.parse(text))] == ["_x", "_table", "_y"]
