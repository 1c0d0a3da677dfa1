"""Small files in the published forms of traces, logs and benchmarks, out of requests that are known.

Each writer follows what its tool writes: names, nesting, units, where times begin, in which order rows come and how
failed requests look.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

N = 240
EPOCH_S = 1_759_813_207.5


@dataclass(frozen=True)
class Known:
    """Requests by construction: one every half second, in pairs of unlike sizes."""

    arrival_s: list[float]
    prompt: list[int]
    output: list[int]

    @property
    def rate_per_s(self) -> float:
        return (len(self.arrival_s) - 1) / (self.arrival_s[-1] - self.arrival_s[0])


def known(n: int = N, gap_s: float = 0.5) -> Known:
    return Known([gap_s * i for i in range(n)], [100 + 7 * (i % 50) for i in range(n)], [1 + i % 40 for i in range(n)])


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _date(at_s: float, digits: int = 6) -> str:
    moment = datetime.datetime(2024, 5, 10) + datetime.timedelta(seconds=at_s)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{round(moment.microsecond * 10 ** (digits - 6)):0{digits}d}"


def azure_2023(k: Known) -> str:
    rows = zip((_date(t, 7) for t in k.arrival_s), k.prompt, k.output, strict=True)
    return _csv([["TIMESTAMP", "ContextTokens", "GeneratedTokens"], *map(list, rows)])


def azure_2024(k: Known) -> str:
    rows = zip((_date(t) + "+00:00" for t in k.arrival_s), k.prompt, k.output, strict=True)
    return _csv([["TIMESTAMP", "ContextTokens", "GeneratedTokens"], *map(list, rows)])


def burstgpt_1(k: Known) -> str:
    """The first release: whole seconds from 5 on."""
    head = ["Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type"]
    rows = [
        [int(5 + t), "ChatGPT", p, o, p + o, "Conversation log"]
        for t, p, o in zip(k.arrival_s, k.prompt, k.output, strict=True)
    ]
    return _csv([head, *rows])


def burstgpt_2(k: Known) -> str:
    """The second: sessions, seconds from 19,440,110 on."""
    head = ["Timestamp", "Session ID", "Elapsed time", "Model", "Request tokens", "Response tokens", "Total tokens",
            "Log Type"]  # fmt: skip
    rows = [
        [19_440_110.0 + t, f"1722ac82-{i}", 3, "GPT-4", p, o, p + o, "API log"]
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ]
    return _csv([head, *rows])


def mooncake(k: Known) -> str:
    return _lines([
        {"timestamp": round(1000 * t), "input_length": p, "output_length": o, "hash_ids": [0, i]}
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ])  # fmt: skip


def qwen_bailian(k: Known) -> str:
    return _lines([
        {"chat_id": i, "parent_chat_id": -1, "timestamp": round(61.114 + t, 3), "input_length": p, "output_length": o,
         "type": "text", "turn": 1, "hash_ids": [1089, *range(100 * i, 100 * i + -(-p // 16) - 1)]}
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ])  # fmt: skip


def bailian_without_chats(k: Known) -> str:
    """The same columns as Mooncake's, in seconds."""
    return _lines([
        {"timestamp": round(t, 3), "input_length": p, "output_length": o, "hash_ids": [1, i]}
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ])  # fmt: skip


def litellm_json(k: Known) -> str:
    """What /spend/logs answers: newest first."""
    rows = [
        {"request_id": f"chatcmpl-{i}", "call_type": "acompletion", "spend": 1e-4, "total_tokens": p + o,
         "prompt_tokens": p, "completion_tokens": o, "startTime": _date(t, 6).replace(" ", "T")[:-3] + "Z",
         "endTime": _date(t + 1.0, 6).replace(" ", "T")[:-3] + "Z", "model": "m", "metadata": {"status": "success"},
         "status": "success"}
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ]  # fmt: skip
    return json.dumps(rows[::-1])


def litellm_csv(k: Known) -> str:
    rows = [
        [f"id-{i}", "acompletion", p + o, p, o, _date(t) + "+00:00", _date(t + 1.0) + "+00:00", "success"]
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ]
    head = ["request_id", "call_type", "total_tokens", "prompt_tokens", "completion_tokens", "startTime", "endTime",
            "status"]  # fmt: skip
    return _csv([head, *rows])


def openai_usage(k: Known) -> str:
    """Answers of an OpenAI-style server, logged as they are."""
    return _lines([
        {"id": f"chatcmpl-{i}", "object": "chat.completion", "created": 1_700_000_000 + int(t), "model": "m",
         "usage": {"prompt_tokens": p, "completion_tokens": o, "total_tokens": p + o,
                   "prompt_tokens_details": {"cached_tokens": p // 4}}}
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ])  # fmt: skip


def _bench_serve(k: Known) -> dict[str, Any]:
    return {
        "date": "20261101-101500", "backend": "vllm", "model_id": "m", "num_prompts": len(k.prompt),
        "request_rate": 2.0, "burstiness": 1.0, "max_concurrency": None, "duration": len(k.prompt) / 2.0,
        "completed": len(k.prompt), "total_input_tokens": sum(k.prompt), "total_output_tokens": sum(k.output),
        "request_throughput": 2.0, "input_lens": k.prompt, "output_lens": k.output,
        "ttfts": [0.05] * len(k.prompt), "itls": [[0.01] * (o - 1) for o in k.output],
        "generated_texts": ["text"] * len(k.prompt), "errors": [""] * len(k.prompt),
    }  # fmt: skip


def vllm_detailed(k: Known) -> str:
    return json.dumps(_bench_serve(k) | {"start_times": [1000.25 + t for t in k.arrival_s]})


def vllm_without_times(k: Known) -> str:
    return json.dumps(_bench_serve(k))


def sglang(k: Known) -> str:
    return _lines([_bench_serve(k) | {"backend": "sglang", "accept_length": None}])


def aiperf(k: Known) -> str:
    """Records as requests end: long answers later."""
    records = [
        (t + 0.1 * o, {
            "metadata": {"session_num": i, "request_start_ns": int((EPOCH_S + t) * 1e9),
                         "request_end_ns": int((EPOCH_S + t + 0.1 * o) * 1e9), "worker_id": "w",
                         "benchmark_phase": "profiling", "was_cancelled": False, "cancellation_time_ns": None},
            "metrics": {"input_sequence_length": {"value": p, "unit": "tokens"},
                        "time_to_first_token": {"value": 255.9, "unit": "ms"},
                        "output_token_count": {"value": o, "unit": "tokens"},
                        "output_sequence_length": {"value": o, "unit": "tokens"}},
            "error": None,
        })
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ]  # fmt: skip
    return _lines([record for _, record in sorted(records, key=lambda r: r[0])])


def guidellm(k: Known) -> str:
    done = [
        {"type_": "generative_request_stats", "request_id": str(i), "info": {"status": "completed"},
         "request_start_time": EPOCH_S + t, "request_end_time": EPOCH_S + t + 1.0, "request_latency": 1.0,
         "prompt_tokens": p, "output_tokens": o, "total_tokens": p + o, "time_to_first_token_ms": 50.0}
        for i, (t, p, o) in enumerate(zip(k.arrival_s, k.prompt, k.output, strict=True))
    ]  # fmt: skip
    benchmark = {"duration": 120.0, "requests": {"successful": done, "errored": [], "incomplete": []}}
    return json.dumps({"metadata": {"version": 1}, "benchmarks": [benchmark]})


def inference_perf_1(k: Known) -> str:
    return json.dumps([
        {"start_time": 1393.25 + t, "end_time": 1394.25 + t, "request": '{"model": "m"}', "response": "",
         "info": {"input_tokens": p, "output_tokens": o, "output_token_times": [1393.3 + t]}, "error": None}
        for t, p, o in zip(k.arrival_s, k.prompt, k.output, strict=True)
    ])  # fmt: skip


def inference_perf_2(k: Known) -> str:
    return json.dumps([
        {"stage_id": 0, "scheduled_time": 10.0 + t, "start_time": 10.0 + t, "end_time": 11.0 + t,
         "request_data": "{}", "response_data": None,
         "info": {"request_metrics": {"text": {"input_tokens": p}},
                  "response_metrics": {"output_tokens": o, "chunk_times": []}}, "error": None}
        for t, p, o in zip(k.arrival_s, k.prompt, k.output, strict=True)
    ])  # fmt: skip


def llmperf(k: Known) -> str:
    return json.dumps([
        {"error_code": None, "error_msg": "", "inter_token_latency_s": 0.01, "ttft_s": 0.3,
         "end_to_end_latency_s": 1.0, "request_output_throughput_token_per_s": 40.0, "number_total_tokens": p + o,
         "number_output_tokens": o, "number_input_tokens": p}
        for p, o in zip(k.prompt, k.output, strict=True)
    ])  # fmt: skip


Writer = Callable[[Known], str]


@dataclass(frozen=True)
class FormOfFile:
    """A form: its file's name, the name that the reader gives it, and whether it has times of its own."""

    name: str
    write: Writer
    form: str
    timed: bool = True
    rate_of_file: bool = True
    time_step_s: float = 1e-3


FORMS = (
    FormOfFile("azure_2023.csv", azure_2023, "azure"),
    FormOfFile("azure_2024.csv.gz", azure_2024, "azure"),
    FormOfFile("BurstGPT_1.csv", burstgpt_1, "burstgpt", time_step_s=1.0),
    FormOfFile("BurstGPT_3.csv", burstgpt_2, "burstgpt"),
    FormOfFile("mooncake.jsonl", mooncake, "mooncake"),
    FormOfFile("qwen_traceA_blksz_16.jsonl", qwen_bailian, "qwen-bailian"),
    FormOfFile("bailian_without_chats.jsonl.gz", bailian_without_chats, "mooncake"),
    FormOfFile("spend_logs.json", litellm_json, "litellm"),
    FormOfFile("spend_logs.csv", litellm_csv, "litellm"),
    FormOfFile("openai_usage.jsonl", openai_usage, "generic", time_step_s=1.0),
    FormOfFile("vllm-2.0qps.json", vllm_detailed, "bench-serve"),
    FormOfFile("vllm-no-times.json", vllm_without_times, "bench-serve", timed=False),
    FormOfFile("sglang_1101_240.jsonl", sglang, "bench-serve", timed=False),
    FormOfFile("profile_export.jsonl", aiperf, "aiperf"),
    FormOfFile("benchmarks.json", guidellm, "guidellm"),
    FormOfFile("per_request_lifecycle_metrics.json", inference_perf_1, "inference-perf"),
    FormOfFile("per_request_lifecycle_metrics_2.json.gz", inference_perf_2, "inference-perf"),
    FormOfFile("m_550_150_individual_responses.json", llmperf, "llmperf", timed=False, rate_of_file=False),
)


def write(folder: Path, form: FormOfFile, k: Known) -> Path:
    path = folder / form.name
    data = form.write(k).encode()
    path.write_bytes(gzip.compress(data) if form.name.endswith(".gz") else data)
    return path
