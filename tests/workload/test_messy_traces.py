"""Files as people have them: dates in many forms, spreadsheets' leavings, names that lie, fields that come late."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError
from planner.workload.traces import Trace, read_trace

N = 60
FIRST = datetime.datetime(2025, 3, 30, 9, 59, 0)
SECONDS = [7 * i for i in range(N)]
PROMPT = [1000 + 37 * i for i in range(N)]
OUTPUT = [1 + 5 * i for i in range(N)]
HEADER = "timestamp,prompt_tokens,output_tokens"


def rows(times: list[str], header: str = HEADER, separator: str = ",") -> str:
    lines = [header, *(f"{t},{p},{o}" for t, p, o in zip(times, PROMPT, OUTPUT, strict=True))]
    return "\n".join(line.replace(",", separator) for line in lines) + "\n"


def dated(form: str) -> list[str]:
    return [(FIRST + datetime.timedelta(seconds=t)).strftime(form) for t in SECONDS]


def as_constructed(trace: Trace) -> None:
    assert trace.prompt_tokens.tolist() == PROMPT
    assert trace.output_tokens.tolist() == OUTPUT
    assert trace.arrival_s is not None
    assert trace.arrival_s.tolist() == SECONDS


def read(folder: Path, content: str | bytes, name: str = "t.csv", **how: object) -> Trace:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_trace(path, **how)  # type: ignore[arg-type]


def refused(folder: Path, content: str | bytes, name: str = "t.csv", **how: object) -> str:
    with pytest.raises(TraceError) as caught:
        read(folder, content, name, **how)
    return str(caught.value).replace(f"{folder}/", "")


# -- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S+0530", "%Y/%m/%d %H:%M:%S",
        "%Y.%m.%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+02:00[Europe/Berlin]", "%Y%m%dT%H%M%SZ", "%Y%m%d %H:%M:%S",
        "%Y%m%d%H%M%S", "%d/%b/%Y:%H:%M:%S +0000", "[%d/%b/%Y:%H:%M:%S +0000]", "%a %d %b %Y %H:%M:%S GMT",
        "%d-%b-%Y %H:%M:%S", "%b %d %Y %I:%M:%S %p", "%B %d %Y %H:%M:%S", "%a %b %d %H:%M:%S %Y",
        "%a %b %d %H:%M:%S UTC %Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%y %H:%M:%S",
        "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%H:%M:%S", "%H:%M:%S.000", "%Y-%m-%d %H:%M:%S CET",
    ],
)  # fmt: skip
def test_dates_as_logs_write_them(tmp_path: Path, form: str) -> None:
    trace = read(tmp_path, rows(dated(form)))
    assert trace.unit == "dates"
    as_constructed(trace)


def test_offsets_that_change_are_the_same_moments(tmp_path: Path) -> None:
    """Clocks are set back between two rows, and the offset says so."""
    zones = [datetime.timezone(datetime.timedelta(hours=2 if t < 200 else 1)) for t in SECONDS]
    start = FIRST.replace(tzinfo=datetime.UTC)
    times = [(start + datetime.timedelta(seconds=t)).astimezone(z) for t, z in zip(SECONDS, zones, strict=True)]
    as_constructed(read(tmp_path, rows([t.strftime("%Y-%m-%d %H:%M:%S %z") for t in times])))


def test_clocks_set_back_without_a_zone_are_noticed(tmp_path: Path) -> None:
    moved = [FIRST + datetime.timedelta(seconds=60 * i - (3600 if i > 40 else 0)) for i in range(N)]
    trace = read(tmp_path, rows([f"{t:%Y-%m-%d %H:%M:%S}" for t in moved]))
    assert trace.notes[0] == "1 row is before the one above it: sorted by timestamp"
    assert "timestamp falls by 59.0 min without time zones: if clocks were set back" in trace.notes[1]
    # With their offset they are out of order and no more.
    trace = read(tmp_path, rows([f"{t:%Y-%m-%d %H:%M:%S}Z" for t in moved]))
    assert len(trace.notes) == 1


def test_times_of_day_go_over_midnight(tmp_path: Path) -> None:
    start = datetime.datetime(2025, 1, 1, 23, 56)
    times = [f"{start + datetime.timedelta(seconds=t):%H:%M:%S}" for t in SECONDS]
    trace = read(tmp_path, rows(times))
    as_constructed(trace)
    assert "each midnight passed begins the next day" in trace.notes[0]
    times[3], times[4] = times[4], times[3]
    text = refused(tmp_path, rows(times))
    assert text.startswith("t.csv:6: timestamp has times of day alone, which fall from 23:56:28 to 23:56:21")


def test_days_and_months_that_cannot_be_told_apart(tmp_path: Path) -> None:
    times = [f"{1 + i // 20:02d}/04/2025 10:00:{i % 20:02d}" for i in range(N)]
    text = refused(tmp_path, rows(times))
    assert text.startswith("t.csv:2: days and months of timestamp cannot be told apart\n  value: 1/4 to 3/4")
    assert "write the year first" in text
    # One day alone is that day, whichever it is.
    as_constructed(read(tmp_path, rows([t.replace("30", "04", 1) for t in dated("%d/%m/%Y %H:%M:%S")])))


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ("2025-02-30 10:00:00", "timestamp is not a time"), ("2025-03-30 24:00:00", "timestamp is not a time"),
        ("30/03/2025 10:00:00", "timestamp is not a time"), ("1743331000", "timestamp is not a time"),
        ("2025-03-30 10:00:00 CET", "timestamp has a time zone in some rows and none in others"),
    ],
)  # fmt: skip
def test_one_row_in_another_form(tmp_path: Path, last: str, what: str) -> None:
    text = refused(tmp_path, rows([*dated("%Y-%m-%d %H:%M:%S")[:-1], last]))
    assert text.startswith(f"t.csv:{N + 1}: {what}")


def test_zones_by_name_that_differ(tmp_path: Path) -> None:
    times = dated("%Y-%m-%d %H:%M:%S CET")
    text = refused(tmp_path, rows([*times[:-1], times[-1].replace("CET", "CEST")]))
    assert text.startswith(f"t.csv:{N + 1}: timestamp has time zones by name, and more than one")


# -- spreadsheets and names of files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separators(tmp_path: Path, separator: str) -> None:
    as_constructed(read(tmp_path, rows([str(t) for t in SECONDS], "arrival_s,prompt_tokens,output_tokens", separator)))


def test_what_spreadsheets_leave(tmp_path: Path) -> None:
    """A byte order mark, carriage returns, commas in thousands, decimals of whole numbers, empty rows below."""
    times = dated("%Y-%m-%d %H:%M:%S")
    lines = [HEADER, *(f'{t},"{p:,}",{o}.0' for t, p, o in zip(times, PROMPT, OUTPUT, strict=True))]
    as_constructed(read(tmp_path, "\ufeff" + "\r\n".join([*lines, ",,", ",,"]) + "\r\n"))
    plain = rows(dated("%Y-%m-%d %H:%M:%S")) + ",,\n,,\n"
    as_constructed(read(tmp_path, plain))
    text = refused(tmp_path, plain + ",5,\n")
    assert text.startswith(f"t.csv:{N + 4}: output_tokens is empty")
    assert "tr '\\r' '\\n' < t.csv" in refused(tmp_path, plain.replace("\n", "\r"))
    assert "is not a number\n  value: '1,00'" in refused(tmp_path, 'prompt_tokens,output_tokens\n"1,00",5\n')


def test_what_a_file_is_counts_and_not_its_name(tmp_path: Path) -> None:
    text = rows(dated("%Y-%m-%d %H:%M:%S"))
    as_constructed(read(tmp_path, gzip.compress(text.encode()), "t.csv"))
    records = [
        {"timestamp": t, "prompt_tokens": p, "output_tokens": o}
        for t, p, o in zip(dated("%Y-%m-%dT%H:%M:%S"), PROMPT, OUTPUT, strict=True)
    ]
    for name in ("t.csv", "t.txt", "requests.log"):
        as_constructed(read(tmp_path, "".join(json.dumps(r) + "\n" for r in records), name))
        as_constructed(read(tmp_path, json.dumps(records), name))


# -- fields that come late, and texts ---------------------------------------------------------------------------------


def _records(n: int) -> list[dict[str, object]]:
    return [{"created": 1_700_000_000 + i, "usage": {"prompt_tokens": 10, "completion_tokens": 5}} for i in range(n)]


def test_fields_that_the_first_records_lack(tmp_path: Path) -> None:
    """Hundreds of requests failed before the first that has sizes."""
    late = [{"created": 1_700_000_000 + i, "error": "overloaded"} for i in range(500)] + _records(900)[500:]
    trace = read(tmp_path, "".join(json.dumps(r) + "\n" for r in late), "t.jsonl", drop_failed=True)
    assert (trace.n_requests, trace.n_dropped) == (400, 500)
    assert read(tmp_path, json.dumps(late), "t.json", drop_failed=True).n_requests == 400


def test_a_column_that_comes_late_does_not_leave_its_place_to_another(tmp_path: Path) -> None:
    """The time of a request is in a later field: another that looks like one is not taken in its stead."""
    late = _records(400)
    for i, record in enumerate(late[300:]):
        record["timestamp"] = 1_700_000_000 + 2 * i
    text = refused(tmp_path, "".join(json.dumps(r) + "\n" for r in late), "t.jsonl")
    assert "2 columns could be the timestamp: created, timestamp" in text
    for record in late[300:]:
        del record["timestamp"]
        record["status"] = 503
    trace = read(tmp_path, "".join(json.dumps(r) + "\n" for r in late), "t.jsonl", drop_failed=True)
    assert trace.n_dropped == 100


def test_requests_without_an_answer_are_left_out_when_told_to(tmp_path: Path) -> None:
    text = "".join(json.dumps(r | ({"usage": None} if i % 10 == 0 else {})) + "\n" for i, r in enumerate(_records(50)))
    assert "--drop-failed leaves it out" in refused(tmp_path, text, "t.jsonl")
    assert read(tmp_path, text, "t.jsonl", drop_failed=True).n_dropped == 5
    blank = "prompt_tokens,output_tokens\n10,5\n10,\n"
    assert "--drop-failed leaves it out" in refused(tmp_path, blank)
    assert read(tmp_path, blank, drop_failed=True).n_dropped == 1


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [{"from": "human", "value": "hello"}]}, {"prompt": "hello there", "completion": "hi"},
        {"body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]}}, {"messages": []},
    ],
)  # fmt: skip
def test_texts_are_no_numbers_of_tokens(tmp_path: Path, record: dict[str, object]) -> None:
    text = refused(tmp_path, json.dumps([record] * 9), "t.json")
    assert text.startswith("t.json: no column holds the prompt tokens")
    assert "has texts, which are no numbers of tokens: count them with the tokenizer" in text


def test_texts_beside_their_counts(tmp_path: Path) -> None:
    """Langfuse writes out input and output, and counts them under `usage`."""
    records = [
        {"startTime": f"{t}Z", "input": "hello", "output": "hi", "usage": {"input": p, "output": o, "total": p + o}}
        for t, p, o in zip(dated("%Y-%m-%dT%H:%M:%S.000"), PROMPT, OUTPUT, strict=True)
    ]
    as_constructed(read(tmp_path, json.dumps({"data": records, "meta": {"page": 1}}), "t.json"))


# -- Parquet ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_parquet(tmp_path: Path, zone: str | None) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
    parquet = pytest.importorskip("pyarrow.parquet")
    times = pa.array(np.datetime64(FIRST, "us") + np.array(SECONDS).astype("timedelta64[s]"))
    table = pa.table(
        {
            "start_time": times.cast(pa.timestamp("us", zone)),
            "usage": pa.array([{"input_tokens": p, "output_tokens": o} for p, o in zip(PROMPT, OUTPUT, strict=True)]),
            "hash_ids": pa.array([[1, i] for i in range(N)]),
        }
    )
    path = tmp_path / "t.parquet"
    parquet.write_table(table, path)
    trace = read_trace(path)
    as_constructed(trace)
    assert trace.blocks is not None
    parquet.write_table(pa.table({"prompt_tokens": PROMPT, "output_tokens": [None, *OUTPUT[1:]]}), path)
    with pytest.raises(TraceError, match="output_tokens is empty") as caught:
        read_trace(path)
    assert caught.value.where == f"{path}, row 1"
    assert read_trace(path, drop_failed=True).n_requests == N - 1
    assert "this is not a Parquet file" in refused(tmp_path, HEADER, "u.parquet")
