"""Files people have, in their published forms, against figures by construction."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError
from planner.workload.traces import read_trace
from tests.workload.trace_writers import (
    FORMS,
    FormOfFile,
    aiperf,
    burstgpt_2,
    guidellm,
    known,
    litellm_json,
    sglang,
    vllm_detailed,
    write,
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_form_gives_its_requests(tmp_path: Path, form: FormOfFile) -> None:
    k = known()
    trace = read_trace(write(tmp_path, form, k))
    assert trace.format == form.form
    assert trace.n_requests == len(k.prompt)
    # To the token, in order of arrival.
    assert trace.prompt_tokens.tolist() == k.prompt
    assert trace.output_tokens.tolist() == k.output
    if form.timed:
        assert trace.arrival_s is not None
        assert trace.duration_s == pytest.approx(k.arrival_s[-1], abs=form.time_step_s)
        assert np.abs(trace.arrival_s - np.array(k.arrival_s)).max() <= form.time_step_s
    else:
        assert trace.arrival_s is None
    if form.rate_of_file:
        assert trace.rate_per_s == pytest.approx(2.0, rel=0.01)
    else:
        assert trace.rate_per_s is None


@pytest.mark.parametrize("rate_per_s", [0.2, 1.0, 3.8, 40.0])
def test_seconds_under_the_columns_of_milliseconds_are_seconds(tmp_path: Path, rate_per_s: float) -> None:
    """The columns of Mooncake's, which has milliseconds, over half an hour and more: the data tell them apart."""
    k = known(n=max(int(1800 * rate_per_s), 300), gap_s=1.0 / rate_per_s)
    for per_s, unit in ((1, "seconds"), (1000, "milliseconds")):
        rows = zip([round(per_s * t, 3) for t in k.arrival_s], k.prompt, k.output, strict=True)
        path = tmp_path / f"{unit}.jsonl"
        path.write_text(
            "".join(
                json.dumps({"timestamp": t, "input_length": p, "output_length": o, "hash_ids": []}) + "\n"
                for t, p, o in rows
            )
        )
        trace = read_trace(path)
        assert trace.unit == unit
        assert trace.rate_per_s == pytest.approx(rate_per_s, rel=1e-3)


def test_blocks_of_prompts_and_tokens_cached(tmp_path: Path) -> None:
    k = known()
    by_name = {form.name: form for form in FORMS}
    qwen = read_trace(write(tmp_path, by_name["qwen_traceA_blksz_16.jsonl"], k))
    assert qwen.blocks is not None
    assert qwen.blocks.block_tokens == 16
    # All prompts share their first block; the first request finds nothing.
    assert qwen.blocks.share(qwen.prompt_tokens) == pytest.approx(
        (len(k.prompt) - 1) / sum(-(-p // 16) for p in k.prompt)
    )
    openai = read_trace(write(tmp_path, by_name["openai_usage.jsonl"], k))
    assert openai.cached_share == pytest.approx(sum(p // 4 for p in k.prompt) / sum(k.prompt))


# -- failed requests --------------------------------------------------------------------------------------------------


def _with_failures(name: str) -> tuple[str, str]:
    """A file in which every tenth request failed, as each form has it."""
    k = known()
    bad = set(range(0, len(k.prompt), 10))
    if name == "burstgpt":
        head, *rows = burstgpt_2(k).splitlines()
        cells = [row.split(",") for row in rows]
        for i in bad:
            cells[i][5], cells[i][6] = "0", cells[i][4]
        return "b.csv", "\n".join([head, *(",".join(row) for row in cells)])
    if name == "aiperf":
        records = [json.loads(line) for line in aiperf(k).splitlines()]
        for i, record in enumerate(records):
            if record["metadata"]["session_num"] in bad:
                isl = record["metrics"]["input_sequence_length"]
                record["metadata"]["was_cancelled"] = i % 20 == 0
                record["metrics"] = {"error_isl": isl}
                record["error"] = {"code": 499, "type": "RequestCancellationError", "message": "cancelled"}
        return "profile_export.jsonl", "".join(json.dumps(r) + "\n" for r in records)
    if name == "guidellm":
        document = json.loads(guidellm(k))
        requests = document["benchmarks"][0]["requests"]
        requests["errored"] = [
            r | {"output_tokens": None} for r in requests["successful"] if int(r["request_id"]) in bad
        ]
        requests["successful"] = [r for r in requests["successful"] if int(r["request_id"]) not in bad]
        return "benchmarks.json", json.dumps(document)
    if name == "litellm":
        rows = json.loads(litellm_json(k))
        for row in rows:
            if int(row["request_id"].removeprefix("chatcmpl-")) in bad:
                row |= {"status": "failure", "completion_tokens": 0}
        return "spend.json", json.dumps(rows)
    write_ = vllm_detailed if name == "vllm" else sglang
    result = json.loads(write_(k))
    for i in bad:
        result["errors"][i], result["output_lens"][i] = "Timeout", 0
    return "result.json" if name == "vllm" else "result.jsonl", json.dumps(result)


@pytest.mark.parametrize("name", ["burstgpt", "aiperf", "guidellm", "litellm", "vllm", "sglang"])
def test_failed_requests_are_refused_and_dropped_when_told_to(tmp_path: Path, name: str) -> None:
    file, text = _with_failures(name)
    path = tmp_path / file
    path.write_text(text)
    with pytest.raises(TraceError, match="24 ") as caught:
        read_trace(path)
    assert "--drop-failed" in str(caught.value.fix)
    trace = read_trace(path, drop_failed=True)
    k = known()
    kept = [i for i in range(len(k.prompt)) if i % 10]
    assert (trace.n_requests, trace.n_dropped) == (len(kept), 24)
    assert trace.prompt_tokens.tolist() == [k.prompt[i] for i in kept]
    assert trace.output_tokens.tolist() == [k.output[i] for i in kept]
    assert "24 of 240 requests failed and are left out" in trace.notes


def test_failures_that_were_answered_count_as_load_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens,status_code\n0,10,5,200\n1,10,5,503\n2,10,5,200\n")
    trace = read_trace(path)
    assert trace.n_requests == 3
    assert trace.notes == ("1 of 3 requests failed and count as load (--drop-failed leaves them out)",)
    assert read_trace(path, drop_failed=True).n_requests == 2
    path.write_text("prompt_tokens,output_tokens,success\n10,5,False\n10,0,False\n")
    with pytest.raises(TraceError, match="every request of the trace failed"):
        read_trace(path, drop_failed=True)


# -- runs of a benchmark ----------------------------------------------------------------------------------------------


def test_several_runs_in_one_file_have_sizes_and_no_rate(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    path.write_text(sglang(known()) * 3)
    trace = read_trace(path)
    assert (trace.n_requests, trace.rate_per_s) == (720, None)
    assert any("3 runs of a benchmark" in note for note in trace.notes)


@pytest.mark.parametrize(
    ("document", "fix"),
    [
        ({"completed": 10, "total_input_tokens": 5, "request_rate": 1.0}, "--save-detailed"),
        ({"results_number_input_tokens_mean": 550.0}, "_individual_responses.json"),
        ({"request_throughput": {"avg": 13.2}, "input_config": {}}, "profile_export.jsonl"),
        ({"load_summary": {}, "successes": {}}, "per_request_lifecycle_metrics.json"),
    ],
)
def test_summaries_say_where_the_requests_are(tmp_path: Path, document: dict[str, object], fix: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(document))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert fix in str(caught.value.fix)


# -- columns ----------------------------------------------------------------------------------------------------------


def test_nested_fields_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(
        "".join(json.dumps({"a": {"in": 10 + i, "out": 5}, "b": {"when": {"at": i}}}) + "\n" for i in range(9))
    )
    trace = read_trace(path, columns={"prompt": "a.in", "output": "a.out", "timestamp_s": "b.when.at"})
    assert trace.prompt_tokens.tolist() == list(range(10, 19))
    assert trace.duration_s == 8


def test_columns_that_may_be_times_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("prompt_tokens,output_tokens,begin_time,model,endTime\n1,2,2024-01-01 00:00:00,m,x\n")
    trace = read_trace(path)
    assert trace.arrival_s is None
    assert trace.notes == (
        "no timestamps are read; columns that may be some: begin_time (--columns timestamp=begin_time)",
    )


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_separators(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n1,20,6\n".replace(",", delimiter))
    assert read_trace(path).prompt_tokens.tolist() == [10, 20]


# -- large files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quoted", [False, True])
def test_pieces_of_a_large_file_join_to_the_token(tmp_path: Path, quoted: bool) -> None:
    rng = np.random.default_rng(1)
    n = 300_000
    arrival = np.cumsum(rng.exponential(0.2, n)).round(4)
    prompt, output = rng.integers(1, 9000, n), rng.integers(1, 900, n)
    # A quoted cell in the middle of it: what follows is read row by row.
    note = [f'"a, {i}"' if quoted and i == n // 2 else "x" for i in range(n)]
    rows = "".join(f"{t:.4f},{p},{o},{c}\n" for t, p, o, c in zip(arrival, prompt, output, note, strict=True))
    path = tmp_path / "large.csv.gz"
    path.write_bytes(gzip.compress(("arrival_s,prompt_tokens,output_tokens,note\n" + rows).encode(), 1))
    told: list[str] = []
    trace = read_trace(path, progress=told.append)
    assert (trace.prompt_tokens == prompt).all()
    assert (trace.output_tokens == output).all()
    assert trace.arrival_s is not None
    assert np.abs(trace.arrival_s - (arrival - arrival[0])).max() < 1e-9
    assert told and told[-1].startswith("reading large.csv.gz: ")


def test_a_fault_far_down_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = ["10,5\n"] * 1_200_000
    rows[1_100_000] = "10,many\n"
    path.write_text("prompt_tokens,output_tokens\n" + "".join(rows))
    with pytest.raises(TraceError, match="output_tokens is not a number") as caught:
        read_trace(path)
    assert caught.value.where == f"{path}:1100002"
    rows[1_100_000] = "10\n"
    path.write_text("prompt_tokens,output_tokens\n" + "".join(rows))
    with pytest.raises(TraceError, match="1 field where the header has 2") as caught:
        read_trace(path)
    assert caught.value.where == f"{path}:1100002"
