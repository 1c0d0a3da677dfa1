"""Which columns of a trace hold what: known forms, usual names, or the user's own mapping."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from planner.errors import TraceError, UnknownNameError

# Role of a timestamp -> its unit; of plain `timestamp` the data tell it.
TIMESTAMPS: dict[str, str | None] = {
    "timestamp": None, "timestamp_s": "s", "timestamp_ms": "ms", "timestamp_us": "us", "timestamp_ns": "ns",
}  # fmt: skip
ROLES = ("prompt", "output", *TIMESTAMPS, "cached", "blocks", "failed")
MAPPING_OPTION = "--columns prompt=NAME,output=NAME,timestamp=NAME"


@dataclass(frozen=True)
class Form:
    """A published form of a file of requests.

    Attributes
    ----------
    name, title : str
    columns : dict
        Role to column. Prompt and output must be there; the timestamp may be missing.
    told_by : tuple of str
        Further columns that only this form has.
    unit : str or None
        Of the timestamps; None: the data tell it.
    any_order : bool
        Whether requests are written when they end, so that timestamps fall.
    zero_is_failed : bool
        Whether a request without output is one that failed.
    block_tokens : int or None
        Tokens of a block of the prompt.
    """

    name: str
    title: str
    columns: dict[str, str]
    told_by: tuple[str, ...] = ()
    unit: str | None = None
    any_order: bool = False
    zero_is_failed: bool = False
    block_tokens: int | None = None


# The first that fits is taken. Sources: the README of each trace, and the writers of each benchmark's results.
FORMS = (
    Form("azure", "Azure LLM inference trace",
         {"prompt": "ContextTokens", "output": "GeneratedTokens", "timestamp": "TIMESTAMP"}),
    Form("splitwise-sim", "trace of the Splitwise simulator",
         {"prompt": "prompt_size", "output": "token_size", "timestamp": "arrival_timestamp"}, unit="s"),
    Form("burstgpt", "BurstGPT",
         {"prompt": "Request tokens", "output": "Response tokens", "timestamp": "Timestamp"},
         told_by=("Total tokens", "Log Type"), unit="s", zero_is_failed=True),
    Form("qwen-bailian", "Qwen-Bailian trace",
         {"prompt": "input_length", "output": "output_length", "timestamp": "timestamp", "blocks": "hash_ids"},
         told_by=("chat_id", "parent_chat_id"), unit="s", block_tokens=16),
    Form("mooncake", "Mooncake trace",
         {"prompt": "input_length", "output": "output_length", "timestamp": "timestamp", "blocks": "hash_ids"},
         told_by=("timestamp",), block_tokens=512),
    Form("aiperf", "AIPerf profile export",
         {"prompt": "metrics.input_sequence_length.value", "output": "metrics.output_sequence_length.value",
          "timestamp": "metadata.request_start_ns"}, unit="ns", any_order=True),
    Form("inference-perf", "inference-perf report of requests",
         {"prompt": "info.input_tokens", "output": "info.output_tokens", "timestamp": "start_time"},
         unit="s", any_order=True),
    Form("inference-perf", "inference-perf report of requests",
         {"prompt": "info.request_metrics.text.input_tokens", "output": "info.response_metrics.output_tokens",
          "timestamp": "start_time"}, unit="s", any_order=True),
    Form("llmperf", "llmperf responses",
         {"prompt": "number_input_tokens", "output": "number_output_tokens"}, any_order=True),
    Form("bench-serve", "vLLM or SGLang serving benchmark",
         {"prompt": "input_lens", "output": "output_lens", "timestamp": "start_times"}, unit="s", any_order=True),
    Form("guidellm", "GuideLLM report",
         {"prompt": "prompt_tokens", "output": "output_tokens", "timestamp": "request_start_time"},
         told_by=("planner_state",), unit="s", any_order=True),
    Form("litellm", "LiteLLM spend log",
         {"prompt": "prompt_tokens", "output": "completion_tokens", "timestamp": "startTime"},
         told_by=("startTime",), any_order=True),
)  # fmt: skip

# Compared without case and punctuation: `Prompt Tokens`, `prompt_tokens` and `promptTokens` are one name.
_ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": (
        "prompt", "prompt_tokens", "n_prompt_tokens", "num_prompt_tokens", "prompt_len", "prompt_length",
        "prompt_size", "input_tokens", "n_input_tokens", "num_input_tokens", "input_len", "input_length",
        "context_tokens", "request_tokens", "num_prefill_tokens", "prefill_tokens", "isl", "input_sequence_length",
        "prompt_token_count", "input_token_count", "number_input_tokens", "tokens_prompt", "tokens_in", "tokens_input",
    ),
    "output": (
        "output", "output_tokens", "n_output_tokens", "num_output_tokens", "output_len", "output_length",
        "completion_tokens", "generated_tokens", "generation_tokens", "response_tokens", "num_decode_tokens",
        "decode_tokens", "token_size", "osl", "output_sequence_length", "completion_token_count",
        "output_token_count", "number_output_tokens", "num_generation_tokens", "candidates_token_count",
        "tokens_completion", "tokens_out", "tokens_output",
    ),
    "timestamp": (
        "timestamp", "arrival", "arrival_time", "arrival_timestamp", "arrived_at", "start_time", "started_at",
        "request_start_time", "request_time", "ts", "created", "created_at", "time", "datetime", "date_time",
    ),
    "timestamp_s": ("timestamp_s", "arrival_s", "arrival_time_s", "time_s", "start_s", "start_time_s"),
    "timestamp_ms": ("timestamp_ms", "arrival_ms", "arrival_time_ms", "time_ms", "start_ms", "start_time_ms"),
    "timestamp_us": ("timestamp_us", "arrival_us", "arrival_time_us", "time_us", "start_us", "start_time_us"),
    "timestamp_ns": ("timestamp_ns", "arrival_ns", "arrival_time_ns", "time_ns", "start_ns", "request_start_ns"),
    "cached": ("cached_tokens", "cached_prompt_tokens", "cached_input_tokens", "prefix_cached_tokens",
               "cache_read_input_tokens"),
    "blocks": ("hash_ids", "block_hashes", "prefix_hashes"),
    "failed": ("error", "error_code", "error_msg", "status", "state", "status_code", "http_status", "success",
               "succeeded", "failed", "was_cancelled", "cancelled", "planner_state", "errors"),
}  # fmt: skip
_ALIAS_SETS = {role: {re.sub(r"[^a-z0-9]", "", name) for name in names} for role, names in _ALIASES.items()}
# Objects that count tokens, and what their fields are called where `tokens` is not said again: `usage.input`.
_USAGE = ("usage", "usagedetails", "tokens", "tokenusage", "tokencount", "tokencounts")
_IN_USAGE = {"prompt": ("input", "prompt", "in"), "output": ("output", "completion", "out", "generated")}
# Where conversations and prompts are written out.
_WRITTEN_OUT = ("conversations", "conversation", "messages", "prompt", "text", "turns", "instruction", "content")
_LOOKS_LIKE_TIME = re.compile(
    r"time|date|stamp|start|creat|arriv|when|clock|epoch|(^|[^a-z])ts([^a-z]|$)", re.IGNORECASE
)
_NO_START = re.compile(r"end|finish|complet|elapsed|first|last|duration|latency|timeout|ttft|update", re.IGNORECASE)


@dataclass(frozen=True)
class TraceColumns:
    """The columns that were chosen, and why.

    Attributes
    ----------
    form : Form or None
        The known form; None for usual names (`generic`) or the user's mapping (`mapped`).
    format : str
    prompt, output : str
    timestamp, unit : str or None
        The column, and the unit that its name or the form tells; None: the data tell it.
    cached, blocks : str or None
    failed : tuple of str
        Columns that tell which requests failed.
    overlooked : tuple of str
        Columns that look like times and were not taken for any.
    """

    form: Form | None
    format: str
    prompt: str
    output: str
    timestamp: str | None
    unit: str | None
    cached: str | None
    blocks: str | None
    failed: tuple[str, ...]
    overlooked: tuple[str, ...]


def parse_columns(text: str, *, where: str = "--columns") -> dict[str, str]:
    """Read `prompt=ctx,output=gen,timestamp=t` as a mapping of roles to column names.

    Nested JSON fields have dots: `prompt=metrics.input_sequence_length.value`.

    Raises
    ------
    TraceError
        A part without `=`, an empty name or a role given twice.
    UnknownNameError
        A role that does not exist.
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


def choose_columns(
    found: Sequence[str],
    mapping: Mapping[str, str] | None,
    where: str,
    form: str | None = None,
    texts: Collection[str] = (),
) -> TraceColumns:
    """Choose the columns that hold prompt tokens, output tokens, timestamps and what else there is.

    Parameters
    ----------
    found : sequence of str
        Names of the columns in the file.
    mapping : mapping, optional
        Role to column name; wins over everything else. Roles left out are sought by the usual names.
    where : str
        `file:line` of the header.
    form : str, optional
        The form that the outside of a document tells.
    texts : collection of str
        Columns that hold texts, such as a prompt itself: none of them has numbers of tokens.

    Raises
    ------
    TraceError
        No column, or more than one, for the prompt or the output tokens.
    UnknownNameError
        The mapping names a role or a column that does not exist.
    """
    if mapping:
        return _mapped(found, mapping, where, texts)
    for known in FORMS:
        if form in (None, known.name) and _fits(known, found):
            roles = {role: column for role, column in known.columns.items() if column in found}
            return _chosen(known, known.name, roles, found)
    usual = {role: _by_alias(role, found, where, texts) for role in ROLES if role != "failed"}
    return _chosen(None, "generic", {role: column for role, column in usual.items() if column}, found)


def _fits(form: Form, found: Sequence[str]) -> bool:
    needed = [form.columns["prompt"], form.columns["output"], *form.told_by]
    return all(column in found for column in needed)


def _mapped(found: Sequence[str], mapping: Mapping[str, str], where: str, texts: Collection[str]) -> TraceColumns:
    _check_roles(mapping, "--columns")
    for role, column in mapping.items():
        if column not in found:
            error = UnknownNameError.of("column", column, found, where=where)
            error.value = f"{role}={column}"
            error.rule = f"columns found: {', '.join(found)}"
            raise error
    roles = dict(mapping)
    left = [column for column in found if column not in mapping.values()]
    timed = any(role in TIMESTAMPS for role in mapping)
    for role in ROLES:
        if role != "failed" and role not in roles and not (timed and role in TIMESTAMPS):
            usual = _by_alias(role, left, where, texts)
            if usual:
                roles[role] = usual
    return _chosen(None, "mapped", roles, found)


def _check_roles(mapping: Mapping[str, str], where: str) -> None:
    for role in mapping:
        if role not in ROLES:
            raise UnknownNameError.of("column role", role, ROLES, where=where)
    times = [role for role in mapping if role in TIMESTAMPS]
    if len(times) > 1:
        raise TraceError(
            f"{' and '.join(times)} are both given", where=where, fix="name one column, in the unit that it has"
        )


def _by_alias(role: str, found: Sequence[str], where: str, texts: Collection[str]) -> str | None:
    counts = role in ("prompt", "output")
    hits = [column for column in found if _means(column, role) and not (counts and column in texts)]
    whole = [column for column in hits if _folded(column) in _ALIAS_SETS[role]]
    hits = whole or hits
    if len(hits) > 1:
        if role in ("cached", "blocks"):
            return None
        raise TraceError(
            f"{len(hits)} columns could be the {role}: {', '.join(hits)}", where=where,
            rule="exactly one column for each role", fix=f"say which, with {MAPPING_OPTION}",
        )  # fmt: skip
    if hits or not counts:
        return hits[0] if hits else None
    raise _missing(role, found, where, texts)


def _means(column: str, role: str) -> bool:
    """Whether a name, or the last part of a nested one, is usual for a role."""
    if _folded(column) in _ALIAS_SETS[role]:
        return True
    parts = [_folded(part) for part in column.split(".") if part != "value"]
    if len(parts) < 2:
        return False
    return parts[-1] in _ALIAS_SETS[role] or (parts[-2] in _USAGE and parts[-1] in _IN_USAGE.get(role, ()))


def _missing(role: str, found: Sequence[str], where: str, texts: Collection[str]) -> TraceError:
    fix = f"say which column it is, with {MAPPING_OPTION}"
    if any(re.fullmatch(r"[\s\d.:+-]+", column) for column in found):
        fix = f"the first line looks like data: put a header line above it; else {fix}"
    elif written := [c for c in found if _folded(c.split(".")[-1]) in _WRITTEN_OUT or (c in texts and _means(c, role))]:
        fix = (
            f"{written[0]} has texts, which are no numbers of tokens: count them with the tokenizer of the model and "
            "write prompt_tokens and output_tokens; or give sizes with --isl and --osl"
        )
    return TraceError(
        f"no column holds the {role} tokens", where=where, value=f"columns found: {', '.join(found)}",
        rule=f"a known form ({', '.join(dict.fromkeys(f.name for f in FORMS))}) or usual names such as prompt_tokens "
        "and output_tokens", fix=fix,
    )  # fmt: skip


def _chosen(form: Form | None, name: str, roles: Mapping[str, str], found: Sequence[str]) -> TraceColumns:
    times = [role for role in TIMESTAMPS if role in roles]
    # Where several are there under their usual names, they say the same; one whose name has its unit is preferred.
    role = max(times, key=lambda r: TIMESTAMPS[r] is not None, default=None)
    timestamp = roles[role] if role else None
    unit = (form.unit if form else None) or (TIMESTAMPS[role] if role else None)
    taken = set(roles.values())
    failed = (roles["failed"],) if "failed" in roles else tuple(c for c in found if _means(c, "failed"))
    overlooked = () if timestamp else tuple(c for c in found if c not in taken and looks_like_time(c))
    return TraceColumns(
        form, name, roles["prompt"], roles["output"], timestamp, unit, roles.get("cached"), roles.get("blocks"),
        failed, overlooked,
    )  # fmt: skip


def looks_like_time(column: str) -> bool:
    """Whether a name may be that of the time at which a request came."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)
    return bool(_LOOKS_LIKE_TIME.search(spaced)) and not _NO_START.search(column)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
