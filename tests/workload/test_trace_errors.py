"""Every way a trace can be unusable, with its message."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from planner.errors import EXIT_BAD_INPUT, TraceError
from planner.workload.traces import read_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 18:17:03.9799600,100,10\n"
NAMES = "prompt_tokens,output_tokens\n"


def refused(path: Path) -> str:
    """Return the message, with the folder cut off."""
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert caught.value.exit_code == EXIT_BAD_INPUT
    return str(caught.value).replace(f"{path.parent}/", "")


def message(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return refused(path)


def test_missing_file_offers_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "azure_conv.csv").write_text(HEADER + ROW)
    (tmp_path / "azure_conv.md").write_text("")
    assert refused(tmp_path / "azure_con.csv") == (
        "azure_con.csv: trace file not found\n  did you mean: azure_conv.csv?\n  fix:   check the path"
    )
    assert "not found" in refused(tmp_path / "nowhere" / "x.csv")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert "not a file" in refused(tmp_path / "folder.csv")


@pytest.mark.parametrize("name", ["t.feather", "t", "t.csv.zip", "t.xlsx"])
def test_unknown_extension(tmp_path: Path, name: str) -> None:
    text = message(tmp_path, HEADER + ROW, name)
    assert "unknown trace file extension" in text
    assert all(f" {name}" in text for name in (".csv", ".jsonl", ".json", ".csv.gz", ".jsonl.gz"))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
@pytest.mark.parametrize("content", ["", "\n\n  \n", "\ufeff"])
def test_empty(tmp_path: Path, content: str, name: str) -> None:
    assert message(tmp_path, content, name).startswith(f"{name}:1: the trace file is empty")


def test_header_only(tmp_path: Path) -> None:
    assert message(tmp_path, HEADER).startswith("t.csv:1: the trace has a header and no requests")


def test_cut_short(tmp_path: Path) -> None:
    text = message(tmp_path, HEADER + ROW + "2023-11-16 18:1")
    assert text == (
        "t.csv:3: 1 field where the header has 3\n  value: 2023-11-16 18:1\n"
        "  rule:  as many fields in every row as in the header\n"
        "  fix:   the file ends in this row: was it cut short?"
    )
    text = message(tmp_path, '{"prompt": 1, "output": 2}\n{"prompt": 1, "outp', "t.jsonl")
    assert text.startswith('t.jsonl:2: not a JSON object\n  value: {"prompt": 1, "outp (')
    assert "was it cut short?" in text
    assert "was it cut short?" in message(tmp_path, NAMES + '1,"2')


def test_wrong_number_of_fields_in_the_middle(tmp_path: Path) -> None:
    text = message(tmp_path, NAMES + "1,2\n\n3,4,5\n6,7\n")
    assert text.startswith("t.csv:4: 3 fields where the header has 2\n  value: 3,4,5\n")
    assert "correct the row" in text


def test_gzip_that_is_not_whole(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + ROW * 50).encode())
    for content in (whole[:-20], b"not gzip at all", whole[:30] + b"\xff\xff\xff" + whole[33:]):
        assert "not a whole gzip file" in message(tmp_path, content, "t.csv.gz")


def test_not_utf_8(tmp_path: Path) -> None:
    text = message(tmp_path, (HEADER + ROW).encode() + b"caf\xe9,1,2\n")
    assert text.startswith("t.csv:3: the trace file is not UTF-8 text\n  value: byte 0xe9\n")
    assert text.endswith("save it as UTF-8")
    assert "UTF-16" in message(tmp_path, (HEADER + ROW).encode("utf-16"))


def test_missing_columns_lists_what_was_found_and_the_option(tmp_path: Path) -> None:
    text = message(tmp_path, "t,ctx,gen\n1,2,3\n")
    assert text.startswith("t.csv:1: no column holds the prompt tokens\n  value: columns found: t, ctx, gen\n")
    assert "--columns prompt=NAME,output=NAME,timestamp=NAME" in text
    assert "no column holds the output tokens" in message(tmp_path, "prompt_tokens,gen\n1,2\n")
    assert "columns found: a, b" in message(tmp_path, '{"a": 1, "b": 2}\n', "t.jsonl")


def test_no_header_line(tmp_path: Path) -> None:
    assert "put a header line above it" in message(tmp_path, ROW + ROW)


def test_ambiguous_and_repeated_columns(tmp_path: Path) -> None:
    text = message(tmp_path, "prompt_tokens,input_tokens,output_tokens\n1,2,3\n")
    assert text.startswith("t.csv:1: 2 columns could be the prompt: prompt_tokens, input_tokens")
    assert "column 'output' is there twice" in message(tmp_path, "prompt,output,output\n1,2,3\n")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("many", "output_tokens is not a number"),
        ("", "output_tokens is empty"),
        ("nan", "output_tokens is not finite"),
        ("inf", "output_tokens is not finite"),
        ("1e999", "output_tokens is not finite"),
        ("-5", "output_tokens is negative"),
        ("2.5", "output_tokens is not a whole number"),
        ("100000001", "output_tokens is absurdly large"),
    ],
)
def test_bad_tokens_name_line_value_and_rule(tmp_path: Path, value: str, what: str) -> None:
    text = message(tmp_path, f"{NAMES}1,2\n1,{value}\n1,{value}\n")
    assert text.startswith(f"t.csv:3: {what}\n")
    assert value in text
    assert "rule:" in text


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("true", "is not a number"), ("null", "is empty"), ("[1]", "is not a number"), ('"x"', "is not a number"),
        ("NaN", "is not finite"), ("-Infinity", "is not finite"), ("1" + "0" * 400, "is not a number"),
    ],
)  # fmt: skip
def test_bad_tokens_in_json(tmp_path: Path, value: str, what: str) -> None:
    text = message(tmp_path, f'{{"prompt": 1, "output": 1}}\n{{"prompt": {value}, "output": 1}}\n', "t.jsonl")
    assert text.startswith(f"t.jsonl:2: prompt {what}\n")


def test_zero_tokens_are_counted_and_not_dropped(tmp_path: Path) -> None:
    text = message(tmp_path, NAMES + "1,2\n7,0\n0,0\n0,4\n")
    assert text == (
        "t.csv:3: output_tokens is zero; 3 of 4 requests have a zero prompt or output, this is the first\n"
        "  value: 0\n  rule:  a request has at least 1 prompt and 1 output token\n"
        "  fix:   leave such requests out with --drop-failed, which counts them, or correct the file"
    )
    assert "prompt_tokens is zero; 1 of 1 requests has a zero prompt" in message(tmp_path, NAMES + "0,2\n")


def test_timestamps_that_fall(tmp_path: Path) -> None:
    text = message(tmp_path, "arrival_s," + NAMES + "1,1,1\n3,1,1\n3,1,1\n2,1,1\n1,1,1\n")
    assert text == (
        "t.csv:5: arrival_s falls from 3 to 2\n  value: 2\n"
        "  rule:  timestamps that count from the beginning of a trace must not decrease\n"
        "  fix:   sort the file by arrival_s; traces put together need times that go on"
    )


def test_dates_that_fall_are_sorted_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER + ROW + "2023-11-16 18:17:02.9799600,7,1\n")
    trace = read_trace(tmp_path / "t.csv")
    assert trace.prompt_tokens.tolist() == [7, 100]
    assert trace.notes == ("1 row is before the one above it: sorted by TIMESTAMP",)


def test_units_that_are_mixed_in_one_file(tmp_path: Path) -> None:
    epoch = "timestamp," + NAMES + "1700000000,1,1\n1700000001,1,1\n1700000002000,1,1\n"
    text = message(tmp_path, epoch)
    assert text.startswith("t.csv:4: timestamp has two units: seconds since 1970 first, and here milliseconds")
    assert "write all timestamps in one unit" in text
    text = message(tmp_path, "timestamp," + NAMES + "2024-05-01T10:00:00Z,1,1\n12.5,1,1\n")
    assert text.startswith("t.csv:3: timestamp is not a time\n  value: 12.5")
    text = message(tmp_path, "timestamp," + NAMES + "2024-05-01T10:00:00Z,1,1\n2024-05-01T10:00:01,1,1\n")
    assert text.startswith("t.csv:3: timestamp has a time zone in some rows and none in others")


def test_a_unit_that_is_ambiguous_is_refused_with_both_readings(tmp_path: Path) -> None:
    rows = "".join(f"{10 * i},1,1\n" for i in range(9000))
    text = message(tmp_path, "timestamp," + NAMES + rows)
    assert text.startswith("t.csv:2: the unit of timestamp is ambiguous\n")
    assert "seconds (0.1 requests/s over 25.0 h) or milliseconds (100 requests/s over 90.0 s)" in text
    assert "--columns timestamp_s=timestamp or timestamp_ms=timestamp" in text
    for unit, rate in (("s", 0.1), ("ms", 100.0), ("us", 1e5)):
        trace = read_trace(tmp_path / "t.csv", columns={f"timestamp_{unit}": "timestamp"})
        assert trace.rate_per_s == pytest.approx(rate)


@pytest.mark.parametrize("value", ["", "yesterday", "2023-13-45 00:00:00", "2023-11-16", "now", "NaT"])
def test_timestamps_that_are_none(tmp_path: Path, value: str) -> None:
    text = message(tmp_path, f"{HEADER}{ROW}{value},1,1\n")
    assert text.startswith(f"t.csv:3: TIMESTAMP is {'not a time' if value else 'empty'}\n  value: '{value}'\n")


def test_numeric_timestamps_that_are_no_numbers(tmp_path: Path) -> None:
    assert message(tmp_path, "timestamp," + NAMES + "1,1,1\nx,1,1\n").startswith("t.csv:3: timestamp is not a number")
    assert message(tmp_path, "timestamp," + NAMES + "1,1,1\nnan,1,1\n").startswith("t.csv:3: timestamp is not finite")


def test_json_lines_that_are_no_objects_or_lack_a_field(tmp_path: Path) -> None:
    assert "t.jsonl:1: not a JSON object\n  value: [1, 2]" in message(tmp_path, "[1, 2]\n", "t.jsonl")
    text = message(tmp_path, '{"prompt": 1, "output": 2}\n\n{"prompt": 1}\n', "t.jsonl")
    assert text.startswith("t.jsonl:3: field 'output' is missing")
    assert "write one object a line" in message(tmp_path, '{"prompt": 1, "output": 2}\n{"prompt": \n1}\n', "t.jsonl")
    pretty = json.dumps([{"prompt": 1, "output": 2}], indent=1)
    (tmp_path / "pretty.jsonl").write_text(pretty)
    assert read_trace(tmp_path / "pretty.jsonl").prompt_tokens.tolist() == [1]
    assert "not a JSON object" in message(tmp_path, "[" * 100_000, "t.jsonl")
