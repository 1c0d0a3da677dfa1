"""Options of commands as fields: their schemas, and the words that their values become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planner.errors import InputError

Fields = dict[str, Any]


def text(description: str) -> Fields:
    """A field that is text, or a number that says as much."""
    return {"type": "string", "description": description}


def number(description: str) -> Fields:
    """A field that is a whole number."""
    return {"type": "integer", "description": description}


def flag(description: str, default: bool = False) -> Fields:
    """A field that is true or false."""
    return {"type": "boolean", "default": default, "description": description}


def texts(description: str) -> Fields:
    """A field that is a list, of which each entry is given for itself."""
    return {"type": "array", "items": {"type": "string"}, "description": description}


def object_of(properties: Fields, required: tuple[str, ...] = (), definitions: Fields | None = None) -> Fields:
    """Schema of the fields of a question, and no others."""
    found = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return found | ({"$defs": definitions} if definitions else {})


def options_of(own: Mapping[str, Fields], fields: Fields) -> list[str]:
    """Words of the options that fields stand for; these fields are taken out of the mapping.

    Raises
    ------
    InputError
        A value that the field cannot have.
    """
    words: list[str] = []
    for name, schema in own.items():
        value = fields.pop(name, None)
        if value is None:
            continue
        option = f"--{name.replace('_', '-')}"
        kind = schema["type"]
        if kind == "boolean":
            if not isinstance(value, bool):
                raise _unfit(name, value, "true or false")
            if value is not schema["default"]:
                words.append(option if value else f"--no-{option.removeprefix('--')}")
        elif kind == "array":
            entries = value if isinstance(value, list) else [value]
            words += [f"{option}={_word(name, entry)}" for entry in entries]
        else:
            words.append(f"{option}={_word(name, value)}")
    return words


def _word(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _unfit(name, value, "text or a number")
    if isinstance(value, str) and "\0" in value:
        raise _unfit(name, value, "no character of code 0")
    return str(value)


def _unfit(name: str, value: object, rule: str) -> InputError:
    return InputError("not a value of this field", where=name, value=json.dumps(value)[:200], rule=rule)
