"""Reading traces of every known form."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError, UnknownNameError
from planner.workload.trace_columns import parse_columns
from planner.workload.traces import Trace, read_trace


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,4808,10\r\n"
    "2023-11-16 18:17:04.0319600,3180,8\r\n"
    "2023-11-16 18:17:05.9799601,110,27"
)
SPLITWISE = (
    "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n"
    "0,2,0,0.5,1,1326,316\n1,2,0,0.75,1,1671,32\n"
)
MOONCAKE = (
    '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'
    '{"timestamp": 1500, "input_length": 7322, "output_length": 490, "hash_ids": []}\n'
)


def test_azure(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "azure.csv", AZURE))
    assert trace.format == "azure"
    assert trace.prompt_tokens.tolist() == [4808, 3180, 110]
    assert trace.output_tokens.tolist() == [10, 8, 27]
    assert trace.arrival_s is not None
    # The seventh digit of the fraction, 100 ns, is kept.
    assert trace.arrival_s.tolist() == pytest.approx([0, 0.052, 2.0000001], abs=1e-12)
    assert trace.n_requests == 3
    assert trace.duration_s == pytest.approx(2.0000001)
    assert trace.rate_per_s == pytest.approx(1.0, rel=1e-6)
    gaps = np.array([0.052, 1.9480001])
    assert trace.arrival_cv2 == pytest.approx(gaps.var() / gaps.mean() ** 2)
    assert trace.path == tmp_path / "azure.csv"


@pytest.mark.parametrize("offset", ["+00:00", "Z", "-0800", "+05:30"])
def test_azure_with_a_time_zone(tmp_path: Path, offset: str) -> None:
    plain = read_trace(write(tmp_path, "plain.csv", AZURE))
    text = "\r\n".join(line.replace(",", offset + ",", 1) if line[0] == "2" else line for line in AZURE.split("\r\n"))
    zoned = read_trace(write(tmp_path, "zoned.csv", text))
    assert plain.arrival_s is not None and zoned.arrival_s is not None
    assert plain.arrival_s.tolist() == zoned.arrival_s.tolist()


def test_time_zones_that_differ_between_rows(tmp_path: Path) -> None:
    text = "timestamp,prompt,output\n2024-05-01T10:00:00Z,1,1\n2024-05-01T12:00:05+02:00,1,1\n2024-05-01 10:01Z,1,1\n"
    arrival = read_trace(write(tmp_path, "zones.csv", text)).arrival_s
    assert arrival is not None
    assert arrival.tolist() == [0, 5, 60]


def test_splitwise_simulator(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "sim.csv", SPLITWISE))
    assert trace.format == "splitwise-sim"
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == ([1326, 1671], [316, 32])
    assert trace.arrival_s is not None
    assert trace.arrival_s.tolist() == [0, 0.25]


def test_mooncake_timestamps_are_milliseconds(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "mooncake.jsonl", MOONCAKE))
    assert trace.format == "mooncake"
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == ([6758, 7322], [500, 490])
    assert trace.duration_s == 1.5


@pytest.mark.parametrize(
    ("header", "duration_s"),
    [
        ("arrival_s,prompt_tokens,output_tokens", 2.5),
        ("Arrival Time,Prompt Tokens,Completion Tokens", 2.5),
        ("arrival_ms,input_tokens,completionTokens", 0.0025),
        ("timestamp,num_prefill_tokens,num_decode_tokens", 2.5),
        ("user,input_length,output_length", None),
    ],
)
def test_usual_names(tmp_path: Path, header: str, duration_s: float | None) -> None:
    trace = read_trace(write(tmp_path, "any.csv", f"{header}\n10,1,2\n11,3,4\n12.5,5,6\n"))
    assert trace.format == "generic"
    assert trace.prompt_tokens.tolist() == [1, 3, 5]
    assert trace.output_tokens.tolist() == [2, 4, 6]
    assert trace.duration_s == (None if duration_s is None else pytest.approx(duration_s))


@pytest.mark.parametrize("name", ["azure.csv.gz", "AZURE.CSV"])
def test_compressed_and_capital_extensions(tmp_path: Path, name: str) -> None:
    assert read_trace(write(tmp_path, name, AZURE)).n_requests == 3


def test_gzipped_json_lines(tmp_path: Path) -> None:
    assert read_trace(str(write(tmp_path, "m.jsonl.gz", MOONCAKE))).n_requests == 2


def test_a_byte_order_mark_quotes_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    text = '\ufeff"prompt_tokens", output_tokens ,note\n\n10,5,"a, ""b"""\n\n20,6,\n\n'
    trace = read_trace(write(tmp_path, "bom.csv", text))
    assert trace.prompt_tokens.tolist() == [10, 20]


def test_mapping(tmp_path: Path) -> None:
    path = write(tmp_path, "own.csv", "t,ctx,gen,prompt_tokens\n1,10,2,99\n1.5,20,4,98\n")
    trace = read_trace(path, columns=parse_columns("prompt=ctx, output=gen, timestamp=t"))
    assert trace.format == "mapped"
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == ([10, 20], [2, 4])
    assert trace.duration_s == 0.5
    assert read_trace(path, columns={"output": "gen", "timestamp_ms": "t"}).duration_s == 0.0005
    assert read_trace(path, columns={"output": "gen"}).prompt_tokens.tolist() == [99, 98]


def test_mapping_errors(tmp_path: Path) -> None:
    path = write(tmp_path, "own.csv", "t,context,generated\n1,10,2\n")
    with pytest.raises(UnknownNameError) as caught:
        read_trace(path, columns={"prompt": "contxt", "output": "generated"})
    assert str(caught.value) == (
        f"{path}:1: unknown column 'contxt'\n  value: prompt=contxt\n  rule:  columns found: t, context, generated\n"
        "  did you mean: context?"
    )
    with pytest.raises(UnknownNameError, match="unknown column role 'promt'") as caught:
        read_trace(path, columns={"promt": "context"})
    assert caught.value.suggestions == ["prompt"]
    with pytest.raises(TraceError, match="both given"):
        read_trace(path, columns={"timestamp": "t", "timestamp_ms": "t"})
    for text, what in (("prompt", "is not ROLE=COLUMN"), ("prompt=a,prompt=b", "given twice"), ("a=b", "unknown")):
        with pytest.raises((TraceError, UnknownNameError), match=what):
            parse_columns(text)


def test_without_timestamps(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "bare.csv", "prompt_tokens,output_tokens\n10,5\n20,15\n"))
    assert trace.arrival_s is None
    assert (trace.duration_s, trace.rate_per_s, trace.arrival_cv2) == (None, None, None)


def test_one_request_or_all_at_once_has_no_rate(tmp_path: Path) -> None:
    for rows in ("5,10,2\n", "5,10,2\n5,10,2\n5,10,2\n"):
        trace = read_trace(write(tmp_path, "at_once.csv", "arrival_s,prompt_tokens,output_tokens\n" + rows))
        assert (trace.duration_s, trace.rate_per_s, trace.arrival_cv2) == (0, None, None)


def test_sizes_count_every_request_alike(tmp_path: Path) -> None:
    sizes = read_trace(write(tmp_path, "azure.csv.gz", AZURE)).sizes()
    assert sizes.name == "azure"
    assert sizes.weight.tolist() == [1 / 3] * 3
    assert sizes.mean_output_tokens == 15


def test_arrays_are_read_only(tmp_path: Path) -> None:
    trace: Trace = read_trace(write(tmp_path, "azure.csv", AZURE))
    with pytest.raises(ValueError, match="read-only"):
        trace.prompt_tokens[0] = 1
