"""What a question of somebody else may name: files that came with it, and none besides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.catalog.loading import read_layer
from planner.errors import InputError

# Relative names lie in the folder of the question, where its command runs.
_ELSEWHERE = re.compile(r"^\s*(?:[/\\~]|[A-Za-z]:[/\\])|(?:^|[/\\])\.\.(?:[/\\]|$)")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+-]{0,99}")


def check_confined(fields: Mapping[str, Any]) -> None:
    """Refuse text that would lead out of the folder of a question.

    Raises
    ------
    InputError
        An absolute path or one that goes up, in whichever field; overlays of the catalog, which the server has.
    """
    if "catalog" in fields:
        raise InputError(
            "this server reads the catalog that it was started with", where="catalog",
            fix="leave it out; whoever runs the server names overlays with --catalog and --overlay",
        )  # fmt: skip
    _check(fields, "")


def _check(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _check(str(key), where)
            _check(entry, f"{where}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            _check(entry, where)
    elif isinstance(value, str) and _ELSEWHERE.search(value):
        raise InputError(
            "a question names no file of the server", where=where or None, value=value[:200],
            rule="a file is sent with the question and named as it was sent",
        )  # fmt: skip


def check_files(folder: Path) -> None:
    """Refuse files that came with a question and name others: fleets, and specifications of loads.

    Raises
    ------
    InputError
        As `check_confined`, or a file of YAML that cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix.casefold() in (".yaml", ".yml"):
            check_confined(read_layer(path.relative_to(folder), error=InputError).data)


def check_file_name(name: str) -> str:
    """The name of a file that came with a question, fit to be one here.

    Raises
    ------
    InputError
        It has a folder, begins with a dot, or has letters that no plain name has.
    """
    if not _FILE_NAME.fullmatch(name) or name in RESERVED:
        raise InputError(
            "not the name of a file that can be sent", where="file", value=name[:200],
            rule="letters of ASCII, digits, spaces and . _ ( ) + -, beginning with a letter or digit; "
            f"none of {', '.join(RESERVED)}",
        )  # fmt: skip
    return name


RESERVED = ("scenario.json", "cluster.json", "fleet.json", "fleet.yaml", "sweep.json", "result.json")
