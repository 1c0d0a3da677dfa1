"""Text that others wrote, checked before a parser recurses into it: one guard at every door.

A file may be nested so deeply that a parser overruns its stack, or hold an integer so long that turning it into a
number takes minutes. Both are refused here, with the line, before any parser sees the text. Control characters, which a
terminal would obey, are refused in files and shown by their codes in messages.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from planner.errors import InputError

MOST_LEVELS = 100  # files of people and tools have a dozen
MOST_DIGITS = 310  # more than the largest float has
MOST_BYTES = 256 * 2**20  # of a file that is read whole; traces have a limit of their own
MOST_NAME_CHARACTERS = 200  # a file system takes 255 bytes, and suffixes are added

_BRACKET = re.compile(r"[][{}]")
# Block nesting of YAML takes a column a level; text that is indented further than this nests nothing.
_DEEP_BLOCK = re.compile(rf"^ *(?:[-?] +){{{MOST_LEVELS},}}|^ {{{2 * MOST_LEVELS},}}[^ \n]", re.MULTILINE)
# Characters that a terminal or a reader obeys in place of showing them: C0 and C1 controls, and marks that turn the
# direction of text around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Colours of our own tables.
_COLOUR = re.compile("\x1b\\[[0-9;]{0,16}m")
_LONG_NUMBER = re.compile(rf"[0-9]{{{MOST_DIGITS},}}")


def check_text(text: str, where: str, error: type[InputError] = InputError) -> None:
    """Refuse text that no parser should be given.

    Parameters
    ----------
    text : str
    where : str
        Path of the file; the line is added.
    error : type of InputError
        Class of the error raised.

    Raises
    ------
    InputError
        Brackets or blocks nested more than `MOST_LEVELS` deep; a number of `MOST_DIGITS` digits or more.
    """
    if match := _LONG_NUMBER.search(text):
        raise error(
            f"a number of {match.end() - match.start():,} digits", where=_line(text, match.start(), where),
            rule=f"fewer than {MOST_DIGITS}", fix="write the number that is meant",
        )  # fmt: skip
    position = _too_deep(text)
    if position is not None:
        raise error(
            f"nested more than {MOST_LEVELS} deep", where=_line(text, position, where),
            fix="write it flat: no file that planner reads has more than a dozen levels",
        )  # fmt: skip


def load_json(text: str, where: str, error: type[InputError] = InputError) -> Any:
    """Parse JSON.

    Raises
    ------
    json.JSONDecodeError
        Not JSON, for the caller to say what was expected.
    InputError
        As `check_text`.
    """
    check_text(text, where, error)
    return json.loads(text)


def read_bytes(path: Path, error: type[InputError] = InputError, most_bytes: int = MOST_BYTES) -> bytes:
    """Read a whole file that is not too large to be what it should be.

    Raises
    ------
    OSError
        It cannot be read.
    InputError
        It is larger than `most_bytes`, or its name cannot be that of a file.
    """
    try:
        size = os.path.getsize(path)
    except ValueError:  # a zero byte in the name
        raise error("this cannot be the name of a file", where=repr(str(path)), fix="check the path") from None
    if size > most_bytes:
        raise error(
            f"the file has {size / 2**20:,.0f} MiB", where=str(path), rule=f"at most {most_bytes / 2**20:,.0f} MiB",
            fix="check that it is the file you mean",
        )  # fmt: skip
    return path.read_bytes()


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there, for any text a person may have written: what no file can be called is none."""
    return os.path.isfile(path)


def _too_deep(text: str) -> int | None:
    """Where nesting passes `MOST_LEVELS` [character], or None."""
    if match := _DEEP_BLOCK.search(text):
        return match.end()
    if text.count("[") + text.count("{") <= MOST_LEVELS:
        return None
    depth = 0
    for match in _BRACKET.finditer(_without_strings(text)):
        depth = depth + 1 if match[0] in "[{" else max(depth - 1, 0)
        if depth > MOST_LEVELS:
            return match.start()
    return None


def _without_strings(text: str) -> str:
    """Quoted strings of one line blanked out, every character in its place."""
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda match: " " * len(match[0]), text)


def _line(text: str, position: int, where: str) -> str:
    return f"{where}:{text.count(chr(10), 0, position) + 1}"


def control_character(text: str) -> str | None:
    """The first character of `text` that a terminal would obey, by its code (`U+001B`); None where there is none."""
    match = _CONTROL.search(text)
    return f"U+{ord(match[0]):04X}" if match else None


def visible(text: str) -> str:
    """Text that a terminal shows as it is: control characters by their codes, colours and line ends kept."""
    kept = [match.span() for match in _COLOUR.finditer(text)]
    if not kept:
        return _CONTROL.sub(_code, text)
    parts, end = [], 0
    for start, after in kept:
        parts += [_CONTROL.sub(_code, text[end:start]), text[start:after]]
        end = after
    return "".join([*parts, _CONTROL.sub(_code, text[end:])])


def _code(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
