"""The installed distribution: whole, current, and the one that the tests exercise."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.schema import BY_FOLDER

DISTRIBUTION = "splitwise-planner"
COMPILED = ("_core.so", "_core.dll")  # made while the package is built
# Import name -> distribution, where they differ.
DISTRIBUTION_OF = {"ruamel": "ruamel.yaml"}


@pytest.fixture(scope="module")
def installed() -> importlib.metadata.Distribution:
    """The distribution as installed from a wheel; nothing to test where the sources are used in place."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{DISTRIBUTION} is not installed: these tests run on the sources")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip(f"{DISTRIBUTION} is installed in editable mode: these tests run on the sources")
    return distribution


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]


def test_the_tests_exercise_the_installed_package(installed: importlib.metadata.Distribution, repository: Path) -> None:
    tested = Path(planner.__file__).resolve()
    assert tested.parent != repository / "planner", "the folder `planner` of the repository hides the installed package"
    assert tested == Path(str(installed.locate_file("planner/__init__.py"))).resolve()


def test_the_installed_files_are_those_of_the_repository(
    installed: importlib.metadata.Distribution, repository: Path
) -> None:
    """None is missing, none is stale and none has come in that is not in the repository."""
    ours = {f"planner/{p}": repository / "planner" / p for p in _files(repository / "planner")}
    ours |= {f"planner/hardware_catalog/{p}": repository / "hardware_catalog" / p
             for p in _files(repository / "hardware_catalog")}  # fmt: skip
    theirs = {str(f): Path(str(f.locate())) for f in installed.files or [] if f.parts[0] == "planner"}
    theirs = {name: path for name, path in theirs.items() if "__pycache__" not in name and not name.endswith(COMPILED)}
    assert sorted(theirs) == sorted(ours)
    stale = [name for name, path in ours.items() if theirs[name].read_bytes() != path.read_bytes()]
    assert not stale, "install again: pip install ."


def _files(folder: Path) -> list[str]:
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return [
        p.as_posix() for p in paths if "__pycache__" not in p.parts and p.suffix != ".pyc" and p.name not in COMPILED
    ]


def test_a_compiled_core_comes_with_the_installation(installed: importlib.metadata.Distribution) -> None:
    """Where pip may bring a compiler, or the machine has one: everywhere this is tested."""
    from planner.simulation import core

    assert core.library() is not None


def test_version(installed: importlib.metadata.Distribution) -> None:
    assert installed.version == planner.__version__


def test_the_command_is_a_function(installed: importlib.metadata.Distribution) -> None:
    (command,) = (e for e in installed.entry_points if e.group == "console_scripts")
    assert (command.name, command.value) == ("planner", "planner.cli.entry:run")
    assert callable(command.load())


def test_the_catalog_that_ships_is_whole(repository: Path) -> None:
    catalog = Catalog()
    for folder, kind in BY_FOLDER.items():
        root = repository / ("planner/catalog/builtin" if folder in ("models", "workloads") else "hardware_catalog")
        files = sorted(p.stem for p in (root / folder).glob("*.yaml"))
        assert files or folder == "currencies"  # no exchange rate ships: it would be old by the time it is used
        assert catalog.names(kind) == files


def test_it_works_away_from_the_repository(shell: Any, tmp_path: Path) -> None:
    names = shell("planner catalog list machines --format csv", cwd=tmp_path).stdout
    assert "dgx-h100" in names
    where = shell('python -c "import planner; print(planner.__file__)"', cwd=tmp_path).stdout
    assert Path(where.strip()).resolve() == Path(planner.__file__).resolve()


def test_dependencies_are_those_that_the_package_imports(repository: Path, project: dict[str, Any]) -> None:
    """What an extra brings may be imported too, but only inside the functions that need it."""
    declared = _names(project["dependencies"])
    extras = [r for extra, r in project["optional-dependencies"].items() if extra not in ("test", "dev")]
    optional = _names(requirement for requirements in extras for requirement in requirements)
    at_once, later = _third_party_imports(repository / "planner")
    # The C parser is loaded by ruamel.yaml itself.
    assert declared - {"ruamel.yaml.clib"} == (at_once | later) - optional
    assert not at_once & optional


def test_the_command_line_begins_without_what_extras_bring(project: dict[str, Any]) -> None:
    extras = [r for extra, r in project["optional-dependencies"].items() if extra not in ("test", "dev")]
    optional = {name.replace("-", "_") for name in _names(r for requirements in extras for r in requirements)}
    code = "import sys, planner.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "planner" in loaded and not optional & set(loaded)


def _names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[<>=; ]", requirement)[0] for requirement in requirements}


def _third_party_imports(folder: Path) -> tuple[set[str], set[str]]:
    """Distributions imported when a module is, and inside its functions; neither the standard library nor our own.

    What the web framework reads off annotations must be imported where it stands; the room `serve` itself is imported
    inside functions, and counted so.
    """
    found: tuple[set[str], set[str]] = (set(), set())
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
        inside = {id(node) for function in functions for node in ast.walk(function)}
        hidden = {id(node) for block in ast.walk(tree) if _is_for_type_checkers(block) for node in ast.walk(block)}
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if id(node) not in hidden:
                found[id(node) in inside or "serve" in path.parts[-3:-1]].update(name.split(".")[0] for name in names)
    ours = set(sys.stdlib_module_names) | {"planner"}
    at_once, later = ({DISTRIBUTION_OF.get(name, name) for name in names - ours} for names in found)
    return at_once, later


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_every_dependency_has_a_lower_bound(project: dict[str, Any]) -> None:
    extras = [d for extra in project["optional-dependencies"].values() for d in extra]
    for requirement in [*project["dependencies"], *extras]:
        assert ">=" in requirement or requirement.startswith(DISTRIBUTION), requirement
