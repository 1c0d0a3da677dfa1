"""Which columns of a trace hold what: known formats, usual names, or the user's own mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.errors import TraceError, UnknownNameError

ROLES = ("prompt", "output", "timestamp", "timestamp_ms")
MAPPING_OPTION = "--columns prompt=NAME,output=NAME,timestamp=NAME"

# Format, then the column of each role. All of prompt and output must be there; timestamps may be missing, except
# for Mooncake, whose `timestamp` in milliseconds is told from others by the company it keeps.
_FORMATS: tuple[tuple[str, dict[str, str]], ...] = (
    ("azure", {"prompt": "ContextTokens", "output": "GeneratedTokens", "timestamp": "TIMESTAMP"}),
    ("splitwise-sim", {"prompt": "prompt_size", "output": "token_size", "timestamp": "arrival_timestamp"}),
    ("mooncake", {"prompt": "input_length", "output": "output_length", "timestamp_ms": "timestamp"}),
)

# Compared without case and punctuation: `Prompt Tokens`, `prompt_tokens` and `promptTokens` are one name.
_ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": (
        "prompt", "prompt_tokens", "n_prompt_tokens", "num_prompt_tokens", "prompt_len", "prompt_length",
        "prompt_size", "input_tokens", "n_input_tokens", "num_input_tokens", "input_len", "input_length",
        "context_tokens", "request_tokens", "num_prefill_tokens", "prefill_tokens", "isl",
    ),
    "output": (
        "output", "output_tokens", "n_output_tokens", "num_output_tokens", "output_len", "output_length",
        "completion_tokens", "generated_tokens", "generation_tokens", "response_tokens", "num_decode_tokens",
        "decode_tokens", "token_size", "osl",
    ),
    "timestamp": (
        "timestamp", "timestamp_s", "arrival_s", "arrival", "arrival_time", "arrival_time_s", "arrival_timestamp",
        "arrived_at", "time_s",
    ),
    "timestamp_ms": ("timestamp_ms", "arrival_ms", "arrival_time_ms", "time_ms"),
}  # fmt: skip


@dataclass(frozen=True)
class TraceColumns:
    """The columns that were chosen, and why: `format` is a known format, `generic` or `mapped`."""

    format: str
    prompt: str
    output: str
    timestamp: str | None
    timestamp_in_ms: bool


def parse_columns(text: str, *, where: str = "--columns") -> dict[str, str]:
    """Read `prompt=ctx,output=gen,timestamp=t` as a mapping of roles to column names.

    Raises
    ------
    TraceError
        A part without `=`, an empty name or a role given twice.
    UnknownNameError
        A role other than prompt, output, timestamp (seconds, or date and time) and timestamp_ms.
    """
    mapping: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not role or not column:
            raise TraceError(
                f"{part.strip()!r} is not ROLE=COLUMN", where=where, value=text, fix=f"write {MAPPING_OPTION}"
            )
        if role in mapping:
            raise TraceError(f"role {role} is given twice", where=where, value=text)
        mapping[role] = column
    _check_roles(mapping, where)
    return mapping


def choose_columns(found: Sequence[str], mapping: Mapping[str, str] | None, where: str) -> TraceColumns:
    """Choose the columns that hold prompt tokens, output tokens and timestamps.

    Parameters
    ----------
    found : sequence of str
        Names of the columns in the file.
    mapping : mapping, optional
        Role to column name; wins over everything else. Roles left out are sought by the usual names.
    where : str
        `file:line` of the header.

    Raises
    ------
    TraceError
        No column, or more than one, for the prompt or the output tokens.
    UnknownNameError
        The mapping names a role or a column that does not exist.
    """
    if mapping:
        return _mapped(found, mapping, where)
    for name, columns in _FORMATS:
        optional = {"timestamp"}
        if all(column in found for role, column in columns.items() if role not in optional):
            return _chosen(name, {role: column for role, column in columns.items() if column in found})
    usual = {role: _by_alias(role, found, where) for role in ROLES}
    return _chosen("generic", {role: column for role, column in usual.items() if column})


def _mapped(found: Sequence[str], mapping: Mapping[str, str], where: str) -> TraceColumns:
    _check_roles(mapping, "--columns")
    for role, column in mapping.items():
        if column not in found:
            error = UnknownNameError.of("column", column, found, where=where)
            error.value = f"{role}={column}"
            error.rule = f"columns found: {', '.join(found)}"
            raise error
    roles = dict(mapping)
    left = [column for column in found if column not in mapping.values()]
    timed = "timestamp" in mapping or "timestamp_ms" in mapping
    for role in ROLES:
        if role not in roles and not (timed and role.startswith("timestamp")):
            usual = _by_alias(role, left, where)
            if usual:
                roles[role] = usual
    return _chosen("mapped", roles)


def _check_roles(mapping: Mapping[str, str], where: str) -> None:
    for role in mapping:
        if role not in ROLES:
            raise UnknownNameError.of("column role", role, ROLES, where=where)
    if "timestamp" in mapping and "timestamp_ms" in mapping:
        raise TraceError(
            "timestamp and timestamp_ms are both given", where=where, fix="name one column, in seconds or milliseconds"
        )


def _by_alias(role: str, found: Sequence[str], where: str) -> str | None:
    known = {_folded(alias) for alias in _ALIASES[role]}
    hits = [column for column in found if _folded(column) in known]
    if len(hits) > 1:
        raise TraceError(
            f"{len(hits)} columns could be the {role}: {', '.join(hits)}", where=where,
            rule="exactly one column for each role", fix=f"say which, with {MAPPING_OPTION}",
        )  # fmt: skip
    if hits or role.startswith("timestamp"):
        return hits[0] if hits else None
    raise _missing(role, found, where)


def _missing(role: str, found: Sequence[str], where: str) -> TraceError:
    fix = f"say which column it is, with {MAPPING_OPTION}"
    if any(re.fullmatch(r"[\s\d.:+-]+", column) for column in found):
        fix = f"the first line looks like data: put a header line above it; else {fix}"
    elif len(found) == 1 and re.search(r"[;\t|]", found[0]):
        fix = "separate the fields with commas"
    return TraceError(
        f"no column holds the {role} tokens", where=where, value=f"columns found: {', '.join(found)}",
        rule="Azure (ContextTokens, GeneratedTokens), Splitwise (prompt_size, token_size), Mooncake (input_length, "
        "output_length) or usual names such as prompt_tokens and output_tokens", fix=fix,
    )  # fmt: skip


def _chosen(name: str, roles: Mapping[str, str]) -> TraceColumns:
    if "timestamp" in roles and "timestamp_ms" in roles:
        # Both are there under their usual names: they say the same, and seconds need no scaling.
        roles = {role: column for role, column in roles.items() if role != "timestamp_ms"}
    timestamp = roles.get("timestamp") or roles.get("timestamp_ms")
    return TraceColumns(name, roles["prompt"], roles["output"], timestamp, "timestamp_ms" in roles)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
