"""Options of a command as the fields of a form: what a person writes there is what would be typed after the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import InputError, UnknownNameError
from planner.serve.option_fields import Fields, object_of, options_of, text, texts
from planner.serve.questions import Parts, Places, Question, Result

# Between the values of an option that may be given several times: commas, lines, or spaces before another one.
_BETWEEN = re.compile(r"\s*[,;\n]\s*|\s+(?=[\w.@-]+\s*=)")
_YES, _NO = "yes", "no"


@dataclass(frozen=True)
class OptionField:
    """An option of a command.

    Attributes
    ----------
    name : str
        Of the field: `max_cost`.
    option : str
        As it is typed: `--max-cost`.
    opposite : str or None
        What says no, of an option that says yes or no: `--no-verify`.
    metavar : str
        What its value is, with the words that may be chosen between bars: `highs|cbc`.
    help : str
    is_flag, is_repeatable : bool
        Whether it takes no value, and whether several.
    """

    name: str
    option: str
    opposite: str | None
    metavar: str
    help: str
    is_flag: bool
    is_repeatable: bool

    @property
    def default(self) -> str:
        """What counts if it is left out, as its help says."""
        found = re.search(r"\[default: (.*)\]\s*$", self.help)
        return found[1] if found else ""

    @property
    def about(self) -> str:
        """Its help without the default."""
        return re.sub(r"\s*\[default: .*\]\s*$", "", self.help)

    @property
    def choices(self) -> list[str]:
        """Words that it takes, if there are no others."""
        words = self.metavar.split("|")
        return words if len(words) > 1 and all(re.fullmatch(r"[a-z][\w-]*", word) for word in words) else []


Form = tuple[OptionField, ...]


def question_of(
    form: Form, name: str, command: str, *, fixed: Sequence[str] = (), arguments: Sequence[str] = (),
    result: Result | None = None, title: str = "",
) -> Question:  # fmt: skip
    """A question whose fields are the options of a command, as text.

    Parameters
    ----------
    form : tuple of OptionField
    name, command, title : str
        Of the question, as `Question` has them.
    fixed : sequence of str
        Options that it always has.
    arguments : sequence of str
        Fields that are arguments of the command, not options.
    result : Result, optional
    """
    properties: Fields = {field.name: (texts if field.is_repeatable else text)(field.help) for field in form}
    properties |= {argument: text(argument) for argument in arguments}

    def parts(fields: Fields, places: Places) -> Parts:
        given = [str(fields.pop(argument)) for argument in arguments if argument in fields]
        return [*fixed, *words_of(form, fields)], given

    return Question(name, title, title, object_of(properties), f"{command} --quiet", parts, None, result)


def words_of(form: Form, fields: Fields) -> list[str]:
    """Words of the options that fields stand for; these fields are taken out of the mapping.

    Raises
    ------
    InputError
        A value that the option cannot have.
    """
    words: list[str] = []
    for field in form:
        if field.name not in fields:
            continue
        if field.is_flag:
            value = fields.pop(field.name)
            if value not in (_YES, _NO) or (value == _NO and field.opposite is None):
                raise InputError("not a choice", where=field.option, value=str(value)[:200], rule=f"{_YES} or {_NO}")
            words.append(field.option if value == _YES else str(field.opposite))
        else:
            kind = texts if field.is_repeatable else text
            words += options_of({field.name: kind("")}, fields)
    return words


def fields_of(form: Form, given: Iterable[tuple[str, str]], also: Sequence[str] = ()) -> dict[str, Any]:
    """What was written into a form: fields with a value, those that take several as a list.

    Raises
    ------
    UnknownNameError
        A field that the form does not have, so that a link never says more than the page shows.
    """
    by_name = {field.name: field for field in form}
    found: dict[str, Any] = {}
    for name, value in given:
        value = value.strip()
        if name in also:
            continue
        if name not in by_name:
            raise UnknownNameError.of("field", name[:100], list(by_name), where="form")
        if not value:
            continue
        if by_name[name].is_repeatable:
            found.setdefault(name, []).extend(divided(value))
        else:
            found[name] = value
    return found


def divided(value: str) -> list[str]:
    """Values of an option that may be given several times: `ttft=1s tbt=200ms`, `dgx-a100, dgx-h100`."""
    parts = [part.strip() for part in _BETWEEN.split(value)]
    return [word for part in parts for word in ([part] if "=" in part else part.split()) if word]


def pairs_of(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fields as the pairs of a link: a value that is a list comes as often as it has entries."""
    return [(n, str(v)) for n, value in fields.items() for v in (value if isinstance(value, list) else [value])]


def command_text(command: str, form: Form, fields: Mapping[str, Any], catalogs: Sequence[str] = ()) -> str:
    """The command that asks the same, to be pasted into a shell."""
    words = ["planner", *command.split()]
    for word in [*words_of(form, dict(fields)), *(f"--catalog={folder}" for folder in catalogs)]:
        option, equals, value = word.partition("=")
        words += [option, value] if equals else [option]
    return shlex.join(words)
