"""Readers of the measured step times and serving runs that the accuracy of the latency model is held against.

The data lie beside the repository and are not part of it; `DATA` is where. Repeated rows are reduced to their
median.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.catalog.schema import Precision

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SPLITWISE = DATA / "splitwise_profile.csv"
STEP_TIMES = DATA / "step_times_llama31_8b.csv"
SERVING = DATA / "serving_h100_closed_loop.csv"
SERVING_EXPERTS = DATA / "serving_moe_closed_loop.csv"

_MODELS = {"llama2-70b": "llama-2-70b", "Llama-3.1-8B": "llama-3.1-8b", "meta-llama/Llama-3.1-70B": "llama-3.1-70b",
           "Qwen/Qwen3-32B": "qwen3-32b"}  # fmt: skip
_MACHINES = {"a100-80gb": "dgx-a100", "h100-80gb": "dgx-h100", "a100_sxm": "dgx-a100", "h100_sxm": "dgx-h100",
             "h200_sxm": "dgx-h200", "b200_sxm": "dgx-b200", "l40s": "8x-l40s"}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One measured step: `batch` prompts of `tokens`, or `batch` sequences with `tokens` of context each."""

    source: str
    model: str
    machine: str
    tensor_parallel: int
    precision: Precision
    phase: str
    batch: float
    tokens: float
    time_s: float


@dataclass(frozen=True)
class Run:
    """A closed loop of `concurrency` clients: mean time between tokens and to the first [s]."""

    model: str
    machine: str
    tensor_parallel: int
    precision: Precision
    backend: str
    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_s: float
    tpot_s: float
    version: str = ""  # of the engine; empty: the file does not say


def splitwise_steps(path: Path = SPLITWISE) -> list[Step]:
    """Prefill and decode steps of the Splitwise profile.

    The power-capped H100 rows (synthetic) and the rows of tensor degree 2 with batch 64 (KV overflow) are left
    out. A decode time is the mean over the output, so its context is the prompt and half the output.
    """
    groups: dict[tuple[str, str, int, int, int, int], list[tuple[float, float]]] = defaultdict(list)
    for row in _rows(path):
        tp, batch = int(row["tensor_parallel"]), int(row["batch_size"])
        if row["hardware"].endswith("pcap") or (tp == 2 and batch == 64):
            continue
        key = (row["model"], row["hardware"], tp, batch, int(row["prompt_size"]), int(row["token_size"]))
        groups[key].append((float(row["prompt_time"]), float(row["token_time"])))
    found = []
    for (model, hardware, tp, batch, prompt, output), times in groups.items():
        prompt_ms, token_ms = np.median(np.array(times), axis=0)
        about = ("splitwise", _MODELS.get(model, model), _MACHINES[hardware], tp, "fp16")
        found.append(Step(*about, "prefill", batch, prompt, prompt_ms / 1e3))  # type: ignore[arg-type]
        found.append(Step(*about, "decode", batch, prompt + output / 2.0, token_ms / 1e3))  # type: ignore[arg-type]
    return found


def kernel_steps(path: Path = STEP_TIMES, backend: str = "") -> list[Step]:
    """Steps of Llama-3.1-8B summed from measured kernels; `backend` keeps sources that mention it."""
    groups: dict[tuple[str, str, int, Precision, str, int, int], list[float]] = defaultdict(list)
    for row in _rows(path):
        if backend in row["source"]:
            key = (row["model"], row["gpu"], int(row["tp"]), row["dtype"], row["phase"], int(row["batch"]),
                   int(row["tokens_or_context"]))  # fmt: skip
            groups[key].append(float(row["latency_ms"]))  # type: ignore[index]
    return [
        Step("kernels", _MODELS[model], _MACHINES[gpu], tp, precision, phase, batch, tokens, np.median(times) / 1e3)
        for (model, gpu, tp, precision, phase, batch, tokens), times in groups.items()
    ]


def serving_runs(path: Path = SERVING) -> list[Run]:
    """Closed-loop runs, one a row of the file; a blank precision is bf16."""
    return [
        Run(
            model=_model(row["model"]),
            machine=_MACHINES[row["system"]],
            tensor_parallel=int(float(row["tp_size"])),
            precision=_precision(row["precision"]),
            backend=row["backend"],
            input_tokens=int(row["isl"]),
            output_tokens=int(row["osl"]),
            concurrency=int(float(row["concurrency"])),
            ttft_s=float(row["ttft_ms"]) / 1e3,
            tpot_s=float(row["tpot_ms"]) / 1e3,
            version=row["backend_version"],
        )
        for row in _rows(path)
    ]


def _model(name: str) -> str:
    """A model's name in the catalogue."""
    return _MODELS.get(name) or name.rsplit("/", 1)[-1].lower().removesuffix("-instruct")


def _precision(name: str) -> Precision:
    """Precision of weights; a blank is bf16."""
    return "fp8" if name.startswith("fp8") else "fp4" if "fp4" in name else "bf16"


@dataclass(frozen=True)
class ExpertRun:
    """A closed loop of clients of a mixture-of-experts model: mean time between tokens [s].

    `multi_token` marks runs that very likely predicted several tokens a step without saying so.
    """

    model: str
    machine: str
    engine: str
    version: str
    tensor_parallel: int
    attention_data_parallel: int
    expert_parallel: int
    multi_token: bool
    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_s: float
    tpot_s: float

    @property
    def degrees(self) -> str:
        """Short form: `TP8`, `TP1 DP8 EP8`."""
        dp = f" DP{self.attention_data_parallel}" if self.attention_data_parallel > 1 else ""
        ep = f" EP{self.expert_parallel}" if self.expert_parallel > 1 else ""
        return f"TP{self.tensor_parallel}{dp}{ep}"


def moe_runs(path: Path = SERVING_EXPERTS) -> list[ExpertRun]:
    """Distinct closed-loop runs on one machine whose degrees agree: tp x dp = moe_tp x moe_ep, at most 8.

    DeepSeek-V3 and R1 are one shape and share their measurements.
    """
    found, seen = [], set()
    for row in _rows(path):
        tp, dp, moe_tp, ep, pp = (int(float(row[n] or 1)) for n in ("tp", "attention_dp", "moe_tp", "moe_ep", "pp"))
        key = tuple(value for name, value in row.items() if name != "model")
        if tp * dp != moe_tp * ep or tp * dp > 8 or pp != 1 or (key, "oss" in row["model"]) in seen:
            continue
        seen.add((key, "oss" in row["model"]))
        deepseek = "oss" not in row["model"]
        found.append(
            ExpertRun(
                model="deepseek-v3" if deepseek else "gpt-oss-120b",
                machine={"h100-sxm": "dgx-h100", "h200-sxm": "dgx-h200"}[row["gpu"]],
                engine=row["engine"],
                version=row["engine_version"],
                tensor_parallel=tp,
                attention_data_parallel=dp,
                expert_parallel=ep,
                multi_token=deepseek and row["engine"] == "trtllm" and row["engine_version"].startswith("1.1.0rc2"),
                input_tokens=int(float(row["input_tokens"])),
                output_tokens=int(float(row["output_tokens"])),
                concurrency=int(float(row["concurrency"])),
                ttft_s=float(row["ttft_ms"]) / 1e3,
                tpot_s=float(row["tpot_ms"]) / 1e3,
            )
        )
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
