"""Questions as data: the fields that each takes, and the command that answers it.

Whoever asks with fields gets what who types the command gets, byte for byte: it is the command that answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from planner.errors import InputError, UnknownNameError
from planner.scenario.scenario_file import resolve_paths
from planner.serve.confinement import check_confined

Fields = dict[str, Any]
Parts = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Places:
    """Where a question may read and write.

    Attributes
    ----------
    folder : Path
        Of the question alone, with the files that came with it; its command runs in it.
    overlay : Path or None
        Overlay folder of the catalog that questions may write into, if there is one.
    """

    folder: Path
    overlay: Path | None = None


@dataclass(frozen=True)
class Result:
    """A file that a command writes in the place of JSON, or beside it.

    Attributes
    ----------
    path : str
        In the folder of the question; a folder comes as an archive (zip) of its files.
    name : str
        As it is saved.
    media_type : str
    is_beside : bool
        Whether the command prints JSON too: a picture of what that says, drawn by its option --plot.
    """

    path: str
    name: str
    media_type: str
    is_beside: bool = False


@dataclass(frozen=True)
class Question:
    """One thing that can be asked.

    Attributes
    ----------
    name, title, description : str
        As an assistant reads them.
    schema : dict
        JSON Schema of the fields.
    command : str
        Words of the command that answers.
    parts : callable
        Options and arguments of the command, of the fields, which it takes out of the mapping given, and of the places
        that files are written into. What is left over is a scenario.
    scenario : "argument", "option" or None
        How the command takes the file of a scenario; None: it takes none.
    result : Result or None
        What the command writes; None: it prints JSON.
    writes_overlay : bool
        Whether the command may write into the overlay of the catalog.
    """

    name: str
    title: str
    description: str
    schema: Fields
    command: str
    parts: Callable[[Fields, Places], Parts]
    scenario: Literal["argument", "option"] | None
    result: Result | None = None
    writes_overlay: bool = False


def command_of(
    question: Question, fields: Mapping[str, Any], places: Places, *, is_confined: bool = False
) -> list[str]:
    """Words of the command that answers a question, after the files that it reads are written.

    Parameters
    ----------
    question : Question
    fields : mapping
    places : Places
    is_confined : bool
        Whether the fields may name files of the question's folder alone; else relative names are those of the
        folder of this process.

    Raises
    ------
    InputError
        A field that the question does not have, or one that it needs and is not there; one that names a file beyond
        the folder of a confined question.
    """
    left = dict(fields)
    for name in question.schema.get("required", ()):
        if left.get(name) in (None, ""):
            raise InputError("missing field", where=name, rule=question.schema["properties"][name]["description"])
    if is_confined:
        check_confined(left)
    else:
        left = resolve_paths(left, Path.cwd())
    options, arguments = question.parts(left, places)
    if question.scenario is None:
        for name in left:
            raise UnknownNameError.of("field", name, list(question.schema["properties"]), where=name)
    elif left:
        file = written(places.folder / "scenario.json", left)
        if question.scenario == "option":
            options = [*options, f"--scenario={file}"]
        else:
            arguments = [*arguments, file]
    result = question.result
    form = ["--format", "json"] if result is None or result.is_beside else []
    if result is not None and result.is_beside:
        form.append(f"--plot={result.path}")
    return [*question.command.split(), *form, *options, "--", *arguments]


def written(path: Path, data: object) -> str:
    """The name of a file after fields were written into it."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    return path.name
