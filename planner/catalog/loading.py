"""Reading catalog files: strict YAML 1.2, positions for messages, and layers merged field by field.

Only files that are asked for are read. The C parser of ruamel.yaml is used when it is installed; the pure
Python one gives the same data, more slowly. What other YAML readers allow but a catalog does not need (merge
keys, several documents, tags, keys that are not text) is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from planner.errors import CatalogError, InputError
from planner.parsing import check_text, control_character, read_bytes

FieldPath = tuple[str | int, ...]

# Keys of a file that speak about its values; in an overlay they become the provenance of what it sets.
ABOUT = ("source", "kind", "provenance", "notes")

# A catalog file has hundreds of values; far more can only come from aliases of aliases.
_MOST_VALUES = 100_000
_MAYBE_ALIAS = re.compile(r"(?:^|[\s,\[{:-])(?:\*[^\s*]|<<\s*:)")
# Line breaks to YAML 1.1 and the C parser, plain text to YAML 1.2: nothing to leave to chance.
_ODD_LINE_BREAK = re.compile("[\x85\u2028\u2029]")
_OLD_DIRECTIVE = re.compile(r"^%YAML\s+(?!1\.2\b)", re.MULTILINE)
# Raw, or as an escape inside double quotes.
_MAYBE_CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\\[0abevxuUNLP]")
_DUPLICATE = re.compile(r'found duplicate key "(.*?)" with value', re.DOTALL)


@dataclass(frozen=True)
class Layer:
    """One file as read: its path as the user would write it, its text and its mapping."""

    path: Path
    text: str
    data: dict[str, Any]

    @cached_property
    def _root(self) -> Node | None:
        return parsed(self.text, "compose")  # type: ignore[no-any-return]

    def line_of(self, path: FieldPath) -> int | None:
        """Return the line [1-based] of the key at `path`, or None if this file does not set it."""
        node, line = self._root, 1
        for part in path:
            if isinstance(node, MappingNode):
                pair = next(((k, v) for k, v in node.value if k.value == part), None)
                if pair is None:
                    return None
                node, line = pair[1], pair[0].start_mark.line + 1
            elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                return None
        return line


def read_layer(path: Path, *, error: type[InputError] = CatalogError) -> Layer:
    """Read one YAML file that must hold a mapping.

    Parameters
    ----------
    path : Path
        The file; named in messages as given.
    error : type of InputError
        The class to raise, for files that are not of the catalog.

    Returns
    -------
    Layer
        Plain dicts, lists and scalars by the rules of YAML 1.2 (`no` is text, `1e9` a number).

    Raises
    ------
    InputError
        The file cannot be read, is not UTF-8, not YAML, has a duplicate key, or is empty or not a mapping;
        `where` is file:line.
    """
    text = _read_text(path, error)
    check_text(text, str(path), error)
    if match := _OLD_DIRECTIVE.search(text):
        raise error("a %YAML directive of another version", where=_at(path, text, match.start()), fix="remove it")
    if match := _ODD_LINE_BREAK.search(text):
        code = f"U+{ord(match[0]):04X}"
        raise error(f"an odd line break ({code})", where=_at(path, text, match.start()), fix="use plain line ends")
    try:
        data = parsed(text, "load")
    except MarkedYAMLError as problem:
        raise _syntax_error(path, problem, error) from None
    except YAMLError as problem:
        position = getattr(problem, "position", 0)
        raise error(
            f"not YAML: {getattr(problem, 'reason', problem)}",
            where=_at(path, text, position),
            fix="catalog files are plain UTF-8 text without control characters",
        ) from None
    except ValueError as problem:  # a date such as 2023-13-45
        raise error(
            f"not a valid value: {problem}", where=f"{path}:{_line_of_bad_scalar(text)}", fix="put text in quotes"
        ) from None
    if data is None:
        raise error("the file is empty", where=f"{path}:1", fix="write its fields, or remove the file")
    if not isinstance(data, dict):
        raise error(
            f"expected fields with values, got a {type(data).__name__}",
            where=f"{path}:1",
            fix="write one `field: value` a line",
        )
    if _MAYBE_ALIAS.search(text) and ("<<" in text or _size(data, {}) > _MOST_VALUES):
        _check_aliases(path, text, error)
    layer = Layer(path, text, data)
    _refuse_odd_keys(layer, error)
    _refuse_controls(layer, error)
    return layer


def merge_layers(layers: Sequence[Layer]) -> dict[str, Any]:
    """Merge the files of one name: mappings field by field, lists and scalars replaced, later files win.

    The `source` and `kind` of every layer but the first become the `provenance` of exactly the leaves that the
    layer sets; what the layer says under its own `provenance` goes before that.
    """
    merged = dict(layers[0].data)
    for layer in layers[1:]:
        own = {key: value for key, value in layer.data.items() if key not in ABOUT}
        merged = _deep_merge(merged, own)
        if "notes" in layer.data:
            merged["notes"] = layer.data["notes"]
        stated = layer.data.get("provenance", {})
        before = merged.get("provenance", {})
        if not isinstance(before, dict) or not isinstance(stated, dict):
            # Left as it is for the schema to refuse, with its line.
            merged["provenance"] = stated if isinstance(before, dict) else before
            continue
        leaves = list(dotted_leaves(own))
        kept = {path: value for path, value in before.items() if not any(_is_within(path, leaf) for leaf in leaves)}
        record = {key: layer.data.get(key) for key in ("source", "kind")}
        merged["provenance"] = kept | dict.fromkeys(leaves, record) | stated
    return merged


def dotted_leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every leaf; a list is one leaf, an empty mapping has none."""
    for key, value in data.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted_leaves(value, path + ".")
        else:
            yield path


def has_dotted_path(data: Mapping[str, Any], path: str) -> bool:
    """Whether `path` (`peak.fp8`) leads to a value of `data`; keys may hold dots themselves."""
    if path in data:
        return True
    return any(
        isinstance(value, dict) and path.startswith(f"{key}.") and has_dotted_path(value, path[len(key) + 1 :])
        for key, value in data.items()
    )


def split_dotted_path(data: Mapping[str, Any], path: str) -> FieldPath:
    """Split a dotted path into the keys of `data` that it goes through; plain splitting beyond what is there."""
    if path in data:
        return (path,)
    for key, value in data.items():
        if path.startswith(f"{key}."):
            rest = path[len(key) + 1 :]
            return (key, *(split_dotted_path(value, rest) if isinstance(value, dict) else rest.split(".")))
    return tuple(path.split("."))


def _deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _deep_merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _is_within(path: str, leaf: str) -> bool:
    return path == leaf or path.startswith(leaf + ".")


def parsed(text: str, method: Literal["load", "compose"]) -> Any:
    """Parse with the C parser; what it does not take, the Python one reads or explains."""
    try:
        return getattr(yaml_reader(), method)(text)
    except YAMLError:
        return getattr(yaml_reader(pure=True), method)(text)


def yaml_reader(pure: bool = False) -> YAML:
    """A reader of plain YAML: libyaml's, or the one in Python, which explains more."""
    return YAML(typ="safe", pure=pure, plug_ins=[])  # looking for plug-ins costs as much as reading a small file


def _read_text(path: Path, error: type[InputError]) -> str:
    try:
        raw = read_bytes(path, error)
    except OSError as problem:
        fix = "check the path" if isinstance(problem, FileNotFoundError) else None
        raise error(f"cannot read the file: {problem.strerror}", where=str(path), fix=fix) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise error(
            f"not UTF-8 text (byte 0x{raw[problem.start]:02x})", where=f"{path}:{line}", fix="save the file as UTF-8"
        ) from None


def _at(path: Path, text: str, position: int) -> str:
    return f"{path}:{text.count(chr(10), 0, position) + 1}"


def _syntax_error(path: Path, problem: MarkedYAMLError, error: type[InputError]) -> InputError:
    mark = problem.problem_mark or problem.context_mark
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    text = str(problem.problem or problem.context or "cannot be parsed")
    if match := _DUPLICATE.match(text):
        return error(f"duplicate key {match[1]!r}", where=where, rule="a key may appear once", fix="remove one of them")
    if "another document" in text:
        return error("more than one document", where=where, fix="one file describes one thing; remove the `---`")
    if "undefined alias" in text:
        return error("an alias (`*name`) of nothing above it", where=where, fix="put the text in quotes, or define it")
    if "constructor for the tag" in text:
        return error("YAML tags (`!...`) are not used in these files", where=where, fix="write the plain value")
    context = f" ({problem.context})" if problem.context and problem.context != text else ""
    return error(f"not YAML: {text}{context}", where=where, fix="check indentation, brackets and quotes here")


def _nodes(node: Node | None, seen: set[int]) -> Iterator[Node]:
    """Yield every node once, though aliases may lead to it several times."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    yield node
    for below in _below(node):
        yield from _nodes(below, seen)


def _below(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _size(value: Any, sizes: dict[int, float]) -> float:
    """Values that what was read stands for, as `_check_aliases` counts them; infinite if it holds itself."""
    if not isinstance(value, (dict, list)):
        return 1.0
    if id(value) not in sizes:
        sizes[id(value)] = math.inf
        below = value.values() if isinstance(value, dict) else value
        keys = len(value) if isinstance(value, dict) else 0
        sizes[id(value)] = 1.0 + keys + sum(_size(one, sizes) for one in below)
    return sizes[id(value)]


def _check_aliases(path: Path, text: str, error: type[InputError]) -> None:
    """Refuse merge keys, aliases to what holds them, and aliases that multiply beyond reason."""
    sizes: dict[int, float] = {}

    def size_of(node: Node) -> float:
        where = f"{path}:{node.start_mark.line + 1}"
        if str(node.tag).endswith(":merge"):
            raise error("merge keys (`<<`) are not part of YAML 1.2", where=where, fix="write the fields out")
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # while inside: an alias back to here is endless
            sizes[id(node)] = 1 + sum(size_of(below) for below in _below(node))
        if sizes[id(node)] > _MOST_VALUES:
            raise error("aliases that repeat each other", where=where, fix="write the values out")
        return sizes[id(node)]

    root = parsed(text, "compose")
    if root is not None:
        size_of(root)


def _line_of_bad_scalar(text: str) -> int:
    for node in _nodes(parsed(text, "compose"), set()):
        if isinstance(node, ScalarNode):
            try:
                yaml_reader().constructor.construct_object(node)
            except ValueError:
                return int(node.start_mark.line) + 1
    return 1


def _refuse_controls(layer: Layer, error: type[InputError]) -> None:
    """Refuse text that a terminal, a page or a workbook would obey in place of showing it."""
    if not _MAYBE_CONTROL.search(layer.text):
        return
    for node in _nodes(layer._root, set()):
        if isinstance(node, ScalarNode) and (code := control_character(str(node.value))):
            raise error(
                f"a control character ({code})", where=f"{layer.path}:{node.start_mark.line + 1}",
                fix="write the text without it",
            )  # fmt: skip


def _refuse_odd_keys(layer: Layer, error: type[InputError]) -> None:
    def walk(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and walk(below) for key, below in value.items())
        return all(map(walk, value)) if isinstance(value, list) else True

    if walk(layer.data):
        return
    for node in _nodes(layer._root, set()):
        for key, _value in node.value if isinstance(node, MappingNode) else ():
            if not str(key.tag).endswith(":str"):
                shown = key.value if isinstance(key, ScalarNode) else "..."
                raise error(
                    f"the key {shown} is not text",
                    where=f"{layer.path}:{key.start_mark.line + 1}",
                    fix=f'put it in quotes: "{shown}"' if isinstance(key, ScalarNode) else "use a plain word as key",
                )
