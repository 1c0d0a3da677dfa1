"""Habits of the house, read off the sources: small modules, and tests that know only what is public."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

import pytest

from planner.optimization.reduction import KINK

MOST_LINES = 500
ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "planner").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_no_module_is_longer_than_a_few_pages() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


# Words that begin a phrase without its noun.
NO_NOUN = {
    "of", "what", "by", "where", "as", "how", "why", "in", "null", "its", "no", "at", "over", "that", "on", "between",
    "for", "when", "while", "from", "left", "paid", "added", "stated", "drawn", "carried", "moved", "true:", "false:",
}  # fmt: skip


def test_descriptions_of_fields_start_with_a_noun() -> None:
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "description" and isinstance(node.value, ast.Constant):
                text = str(node.value.value)
                if text.split()[0].casefold() in NO_NOUN:
                    found.append(f"{path.relative_to(ROOT)}:{node.value.lineno}: {text}")
    assert found == []


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


def test_whether_a_file_is_there_is_asked_of_os_path() -> None:
    """`Path.is_file` and its like raise on a name that is too long; `os.path` answers that nothing is there."""
    asked = re.compile(r"(?<!os\.path)\.(exists|is_file|is_dir)\(")
    found = {path.name: asked.findall(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {name: calls for name, calls in found.items() if calls} == {}


# ----------------------------------------------------------------------------------------------------------- equations

NUMBER = re.compile(r"\((\d\.\d{1,2}[a-c]?)\)")
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^#+ ", METHOD, flags=re.MULTILINE)
SECTION_OF = {
    match[1]: section
    for section in SECTIONS
    for match in re.finditer(r"^ {4}.*\((\d+\.\d+[a-z]?)\)$", section, flags=re.MULTILINE)
}


def prose_of(path: Path) -> list[str]:
    """Comments and docstrings of a module."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return [t.string for t in tokens if t.type == tokenize.COMMENT or t.string.startswith('"""')]


def test_every_equation_that_code_cites_is_in_the_method() -> None:
    cited = {(n, str(p.relative_to(ROOT))) for p in MODULES for text in prose_of(p) for n in NUMBER.findall(text)}
    assert len({number for number, _ in cited}) > 15
    assert {(number, path) for number, path in cited if number not in SECTION_OF} == set()


def test_the_method_names_the_module_that_holds_an_equation() -> None:
    missing = []
    for path in MODULES:
        for text in prose_of(path):
            for line in text.splitlines():
                stated = re.search(r"\S {2,}\((\d+\.\d+[a-z]?)\)$", line)
                if stated and str(path.relative_to(ROOT)) not in SECTION_OF.get(stated[1], ""):
                    missing.append((stated[1], str(path.relative_to(ROOT))))
    assert missing == []


def test_constants_that_a_proof_rests_on_are_those_of_the_code() -> None:
    text = " ".join(METHOD.split())
    stated = re.search(r"chords raised by ([\d.]+) of a machine \(`KINK`", text)
    assert stated and float(stated[1]) == KINK
