"""From a mapping to a checked model, and from pydantic's errors to messages with file:line.

pydantic says *where in the data* something is wrong; here that becomes the line of the last file that set it,
or, for something missing, the line of what it is missing from.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from planner.catalog.loading import FieldPath, Layer
from planner.catalog.schema import Provenance, SourceKind
from planner.errors import CatalogError, InputError, near_misses

Model = TypeVar("Model", bound=BaseModel)

_FIXES = {
    "source": "say where the values of this file come from, such as `source: NVIDIA H100 datasheet, 2023, <URL>`",
    "kind": f"say what kind of source that is: one of {', '.join(get_args(SourceKind))}",
}


def check(
    model: type[Model],
    data: Mapping[str, Any],
    layers: Sequence[Layer],
    *,
    given: Mapping[str, Any] | None = None,
    error: type[InputError] = CatalogError,
) -> tuple[Model | None, list[InputError]]:
    """Validate `data`, merged from `layers`, and explain what is wrong with it.

    Parameters
    ----------
    model : type of BaseModel
        What the data must be. Fields are read by alias only, quantities must spell their units.
    data : mapping
        The merged content of the files.
    layers : sequence of Layer
        The files, lowest first; used for line numbers.
    given : mapping, optional
        Fields that do not come from the files, such as the name.
    error : type of InputError
        The class of the explained errors.

    Returns
    -------
    model or None, list of InputError
        The validated model, or None and one error for each thing that is wrong, in file order.
    """
    given = given or {}
    problems = [_given_in_file(field, layers, error) for field in given if field in data]
    try:
        checked = model.model_validate({**data, **given}, context={"from_file": True}, by_alias=True, by_name=False)
    except ValidationError as failed:
        seen: set[FieldPath] = set()
        for detail in failed.errors(include_url=False):
            path = _path_of(detail["loc"], data, missing=detail["type"] == "missing")
            if path not in seen:  # a union reports each of its members
                seen.add(path)
                problems.append(_explain(detail, path, model, data, layers, error))
    else:
        if not problems:
            return checked, []
    return None, sorted(problems, key=_by_file_and_line)


def check_overlay_header(layer: Layer) -> list[InputError]:
    """Return what is wrong with the `source` and `kind` of an overlay file, which must have its own."""
    header: dict[str, Any] = {key: layer.data[key] for key in ("source", "kind") if key in layer.data}
    return check(Provenance, header, [layer])[1]


def joined(problems: Sequence[InputError]) -> InputError:
    """Return one error out of several: the first in full, the others as one line each."""
    first = problems[0]
    first.also = [one_line(other) for other in problems[1:]]
    return first


def one_line(problem: InputError, *, with_where: bool = True) -> str:
    """Return an error on one line, with its near misses."""
    text = f"{problem.where}: {problem.what}" if with_where and problem.where else problem.what
    if problem.suggestions:
        return f"{text}; did you mean: {', '.join(problem.suggestions)}?"
    return f"{text}; {problem.fix}" if problem.fix and not with_where else text


def _by_file_and_line(problem: InputError) -> tuple[str, int]:
    file, _, line = (problem.where or "").rpartition(":")
    return file, int(line) if line.isdigit() else 0


def where_of(path: FieldPath, layers: Sequence[Layer]) -> str:
    """Return file:line of the last layer that sets `path`, or of the nearest thing above it that is set."""
    for n in range(len(path), 0, -1):
        for layer in reversed(layers):
            line = layer.line_of(path[:n])
            if line is not None:
                return f"{layer.path}:{line}"
    return f"{layers[-1].path}:1"


def dotted(path: FieldPath) -> str:
    """Return `peak.fp8` of `("peak", "fp8")`."""
    return ".".join(map(str, path))


def fields_at(model: Any, path: FieldPath) -> dict[str, str]:
    """Return the fields a mapping at `path` may have: name in the file to name in Python."""
    candidates = [model]
    for part in path:
        candidates = [below for candidate in candidates for below in _below(candidate, part)]
    return {
        field.alias or name: name
        for candidate in candidates
        for found in _members(candidate)
        if isinstance(found, type) and issubclass(found, BaseModel)
        for name, field in found.model_fields.items()
    }


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation, without its Annotated and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _below(annotation: Any, part: str | int) -> Iterator[Any]:
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield from (f.annotation for name, f in member.model_fields.items() if part == (f.alias or name))
        elif get_origin(member) is dict:
            yield get_args(member)[1]
        elif get_origin(member) in (list, tuple):
            yield get_args(member)[0]


def _path_of(loc: Sequence[str | int], data: Any, *, missing: bool) -> FieldPath:
    """Return the path in the data of an error location, which also names the members of unions."""
    path: list[str | int] = []
    for n, part in enumerate(loc):
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif not (missing and n == len(loc) - 1):
            continue  # the member of a union, or pydantic's mark of a key
        path.append(part)
    return tuple(path)


def _given_in_file(field: str, layers: Sequence[Layer], error: type[InputError]) -> InputError:
    rule = "the name of a catalog entry is the name of its file" if field == "name" else None
    return error(f"{field}: not a field of this file", where=where_of((field,), layers), rule=rule, fix="leave it out")


def _explain(
    detail: Any, path: FieldPath, model: type[BaseModel], data: Any, layers: Sequence[Layer], error: type[InputError]
) -> InputError:
    name, kind, where = dotted(path), detail["type"], where_of(path, layers)
    if kind == "extra_forbidden":
        known = {k: v for k, v in fields_at(model, path[:-1]).items() if len(path) > 1 or k != "name"}
        key = str(path[-1])
        near = [alias for alias, python_name in known.items() if python_name == key] or near_misses(key, known)
        fix = None if near else f"known here: {', '.join(sorted(known))}"
        return error(f"{name}: unknown field", where=where, suggestions=near, fix=fix)
    if kind == "missing":
        key = str(path[-1])
        fix = _FIXES.get(key) if len(path) == 1 else None
        return error(f"{name}: missing field", where=where, fix=fix or f"add `{key}: ...`{_purpose(model, path)}")
    if kind in ("literal_error", "union_tag_invalid"):
        expected = re.findall(r"'([^']*)'", detail["ctx"].get("expected") or detail["ctx"].get("expected_tags"))
        if kind == "union_tag_invalid":
            path = (*path, detail["ctx"]["discriminator"].strip("'"))
        given = detail["ctx"]["tag"] if kind == "union_tag_invalid" else detail["input"]
        near = near_misses(str(given), expected)
        return error(
            f"{dotted(path)}: {given!r} is not one of {', '.join(expected)}",
            where=where_of(path, layers),
            suggestions=near if len(near) < len(expected) else (),
        )
    if kind == "union_tag_not_found":
        key = detail["ctx"]["discriminator"].strip("'")
        return error(f"{name}.{key}: missing field", where=where, fix=f"add `{key}: ...`")
    message = detail["msg"].removeprefix("Value error, ")
    what, _, fix = message.partition("; ")
    value = detail["input"] if kind != "value_error" and isinstance(detail["input"], str | int | float) else None
    what = what[0].lower() + what[1:]
    return error(f"{name}: {what}" if name else what, where=where, value=value, fix=fix or _quote_hint(detail))


def _quote_hint(detail: Any) -> str | None:
    if detail["type"] == "string_type" and detail["input"] is not None and not isinstance(detail["input"], dict | list):
        return f'put it in quotes: "{detail["input"]}"'
    return None


def _purpose(model: type[BaseModel], path: FieldPath) -> str:
    """Return what a missing field is for, out of the model that wants it."""
    candidates: list[Any] = [model]
    for part in path[:-1]:
        candidates = [below for candidate in candidates for below in _below(candidate, part)]
    for candidate in candidates:
        for member in _members(candidate):
            if isinstance(member, type) and issubclass(member, BaseModel):
                for name, field in member.model_fields.items():
                    if path[-1] == (field.alias or name):
                        literals = [m for m in _members(field.annotation) if get_origin(m) is Literal]
                        options = ", ".join(str(option) for literal in literals for option in get_args(literal))
                        text = field.description or (f"one of {options}" if options else "")
                        return f" ({text.rstrip('.')})" if text else ""
    return ""
