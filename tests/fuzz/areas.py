"""One generator a door: a sound document of its kind, damaged, with the command that reads it."""

from __future__ import annotations

import csv
import functools
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import planner
from planner.catalog.loading import read_layer

from .mutations import ODD_TEXTS, as_yaml, damaged, scratched_bytes

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = ("--no-verify", "--machine", "dgx-h100", "--max-pools", "1")
KINDS = {
    "accelerators": "h100-sxm", "machines": "dgx-h100", "fabrics": "infiniband-ndr", "runtimes": "vllm-2026",
    "prices": "splitwise-2023", "regions": "france",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One command to run in a folder that has its files."""

    arguments: tuple[str, ...]


Area = Callable[[random.Random, Path], Case]


def _builtin(kind: str, name: str) -> dict[str, Any]:
    package = Path(planner.__file__).parent
    places = [REPOSITORY / "hardware_catalog", package / "hardware_catalog", package / "catalog" / "builtin"]
    path = next(p / kind / f"{name}.yaml" for p in places if (p / kind / f"{name}.yaml").is_file())
    return dict(read_layer(path).data)


@functools.cache
def _plan() -> dict[str, Any]:
    plan = planner.optimize(slo="ttft=1s", machines="dgx-h100", max_pools=1, verify=False)
    return dict(json.loads(plan.model_dump_json()))


def _text_or_bytes(path: Path, data: Any, rng: random.Random) -> None:
    """A damaged document; now and then damaged as bytes too."""
    content = as_yaml(damaged(data, rng)).encode("utf-8", "surrogatepass")
    path.write_bytes(scratched_bytes(content, rng) if rng.random() < 0.25 else content)


def options(rng: random.Random, folder: Path) -> Case:
    """Options with odd values, repeated and combined."""
    command = rng.choice(["optimize", "optimize", "evaluate", "estimate", "simulate", "compare", "alternatives"])
    values = {
        "--slo": ["ttft=1s", "tbt.p99=100ms", "ttft=0s", "ttft=-1s", "ttft", "e2e.p999=1s", "ttft.p50=2x", "ttft=1,5s"],
        "--rate": ["70/s", "0/s", "-1/s", "1e9/s", "1,5/s", "70", "70 rps", "3/min", "nan/s", "70/s/s"],
        "--model": ["llama-3.1-8b", "llama", "LLAMA-3.1-8B", "../x"],
        "--machine": ["dgx-h100", "dgx-h10", "all ", "DGX-H100", "dgx-h100,dgx-a100"],
        "--workload": ["azure-code-2023", "azure", "nope.csv", "/", "."],
        "--design": ["auto", "baseline", "Splitwise-HH", "Splitwise-ZZ", "Baseline-", "Splitwise-+", "Baseline-H100"],
        "--objective": ["cost", "power", "throughput", "carbon", "beauty"],
        "--max-cost": ["100 USD/h", "-1 USD/h", "1e400 USD/h", "0 USD/h", "100", "100 EUR/h"],
        "--max-power": ["60kW", "-1 W", "60", "60 kWh"],
        "--max-machines": ["dgx-h100=2", "dgx-h100=-1", "=3", "dgx-h100", "dgx-h100=2.5", "h100=24", "dgx-h100=1e9"],
        "--spares": ["1", "-1", "1e3", "99999999999999999999"],
        "--seed": ["1", "-1", "2147483648", "x"],
        "--precision": ["fp8", "bf16", "fp3", ""],
        "--network": ["ethernet-25g", "25Gbit/s", "25Gb", "0 Gbit/s", "-1 x ethernet-25g", "1e9 x ethernet-25g"],
        "--time-limit": ["60s", "0s", "-1s", "1e400s", "60"],
        "--max-utilisation": ["90%", "0", "1", "1.1", "90", "-5 %"],
        "--prefix-cached": ["0", "1", "0.5", "150%", "-1"],
        "--arrival-cv2": ["1", "-1", "1001", "nan", "1e-9"],
        "--format": ["json", "csv", "table", "xml"],
        "--region": ["france", "atlantis", "x=y", "onprem=france"],
    }
    words: list[str] = [command]
    if command == "evaluate" or command == "simulate":
        words += [
            "--pool",
            rng.choice(["mixed=dgx-h100:2", "mixed=dgx-h100:0", "prefill=dgx-h100:1", "mixed=:", "x=y:1"]),
        ]
    if command == "simulate":
        words += ["--requests", rng.choice(["200", "0", "-1", "1e3", "many"])]
    if command != "estimate":
        words += ["--machine", "dgx-h100"] if command in ("optimize", "compare", "alternatives") else []
    if command == "optimize":
        words += ["--no-verify", "--max-pools", "1"]
    for _ in range(rng.randint(1, 3)):
        option = rng.choice(list(values))
        value = rng.choice(values[option]) if rng.random() < 0.8 else rng.choice(ODD_TEXTS).replace("\0", "")
        words += [option, value] if rng.random() < 0.9 else [f"{option}={value}"]
    return Case(tuple(words))


def scenarios(rng: random.Random, folder: Path) -> Case:
    """Scenario files."""
    data = {
        "model": "llama-3.1-8b", "workload": "azure-conv-2023", "rate": "20/s", "slo": ["ttft=1s", "tbt.p99=100ms"],
        "machines": ["dgx-h100"], "design": "baseline", "objective": "cost", "max_machines": {"dgx-h100": 4},
        "max_cost": "500 USD/h", "spares": 1, "max_pools": 1, "verify": False, "region": ["france"],
        "electricity": "0.1 USD/kWh", "pue": 1.3, "max_utilisation": "80%", "seed": 3, "time_limit_s": 20,
    }  # fmt: skip
    _text_or_bytes(folder / "scenario.yaml", data, rng)
    return Case(("optimize", "scenario.yaml", "--no-verify", "--machine", "dgx-h100", "--format", "json"))


def _catalog_kind(kind: str, rng: random.Random, folder: Path) -> Case:
    overlay = folder / "ours" / kind
    overlay.mkdir(parents=True)
    name = KINDS[kind]
    data = _builtin(kind, name)
    if rng.random() < 0.5:
        name = "ours"
        if kind == "prices" and rng.random() < 0.5:
            data.pop("default", None)
    else:  # a few lines over what ships
        data = {key: data[key] for key in rng.sample(sorted(data), min(3, len(data)))} | {
            "source": "us",
            "kind": "quote",
        }
    _text_or_bytes(overlay / f"{name}.yaml", data, rng)
    if rng.random() < 0.5:
        return Case(("catalog", "lint", "ours"))
    return Case(("optimize", "--slo", "ttft=1s", "--catalog", "ours", *QUICK))


def models(rng: random.Random, folder: Path) -> Case:
    """Models written by hand, served."""
    overlay = folder / "ours" / "models"
    overlay.mkdir(parents=True)
    base = rng.choice(["llama-3.1-8b", "gpt-oss-20b", "deepseek-v3"])
    _text_or_bytes(overlay / "ours.yaml", _builtin("models", base), rng)
    return Case(("optimize", "--slo", "ttft=5s", "--catalog", "ours", "--model", "ours", *QUICK, "--format", "json"))


def workloads(rng: random.Random, folder: Path) -> Case:
    """Workloads written by hand, planned for."""
    overlay = folder / "ours" / "workloads"
    overlay.mkdir(parents=True)
    _text_or_bytes(overlay / "ours.yaml", _builtin("workloads", "azure-conv-2023"), rng)
    words = (
        "optimize",
        "--slo",
        "ttft=5s",
        "--catalog",
        "ours",
        "--workload",
        "ours",
        "--model",
        "llama-3.1-8b",
        *QUICK,
    )
    return Case((*words, "--format", "json"))


def traces(rng: random.Random, folder: Path) -> Case:
    """Logs of requests, CSV and JSON lines."""
    rows = [
        {
            "timestamp": 1000 * i + rng.randrange(1000), "input_length": rng.randrange(1, 3000),
            "output_length": rng.randrange(1, 500),
        }
        for i in range(rng.choice([1, 2, 5, 40]))
    ]  # fmt: skip
    if rng.random() < 0.5:
        rows = [damaged(row, rng, 1) if rng.random() < 0.2 else row for row in rows]
        text = "\n".join(json.dumps(row) for row in rows)
        name = "log.jsonl"
    else:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: rng.choice(ODD_TEXTS) if rng.random() < 0.03 else v for k, v in row.items()})
        text, name = stream.getvalue(), rng.choice(["log.csv", "log.csv", "log.txt", "log.CSV"])
    content = text.encode("utf-8", "replace")
    (folder / name).write_bytes(scratched_bytes(content, rng) if rng.random() < 0.4 else content)
    if rng.random() < 0.7:
        return Case(("workload", "describe", name, "--format", "json"))
    return Case(
        ("optimize", "--slo", "ttft=5s", "--workload", name, "--model", "llama-3.1-8b", *QUICK, "--format", "json")
    )


def configs(rng: random.Random, folder: Path) -> Case:
    """Model configs of Hugging Face."""
    data: dict[str, Any] = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }  # fmt: skip
    if rng.random() < 0.4:
        data |= {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "model_type": "qwen3_moe"}
    if rng.random() < 0.3:
        data = {"text_config": data, "model_type": "vlm", "vision_config": {"hidden_size": 64}}
    if rng.random() < 0.3:
        data["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    _text_or_bytes(folder / "config.json", data, rng)
    return Case(("catalog", "import-model", "config.json", "--name", "ours"))


def quotes(rng: random.Random, folder: Path) -> Case:
    """Price lists of vendors."""
    titles = ["Machine", "Price", "Currency", "Date", "Vendor", "Notes"]
    rows = [
        ["dgx-h100", "31.50 USD/h", "USD", "2026-11-20", "Acme", ""],
        ["dgx-a100", "$3.10/GPU/hr", "USD", "20 Nov 2026", "Acme", ""],
        ["dgx-h200", "27.40 USD/h", "USD", "20.11.2026", "Béton", "per month"],
    ]  # fmt: skip
    for row in rows:
        for n in range(len(row)):
            if rng.random() < 0.05:
                row[n] = rng.choice(ODD_TEXTS)
    if rng.random() < 0.3:
        titles[rng.randrange(len(titles))] = rng.choice(["", "Price", "List", "Lead time", "Prix", "Machine"])
    stream = io.StringIO()
    csv.writer(stream, delimiter=rng.choice(",;\t")).writerows([titles, *rows])
    content = stream.getvalue().encode("utf-8", "replace")
    (folder / "quotes.csv").write_bytes(scratched_bytes(content, rng) if rng.random() < 0.25 else content)
    words = ("catalog", "import-quotes", "quotes.csv", "--book", "offers", "--catalog", "ours", "--format", "json")
    return Case((*words, "--currency", "USD") if rng.random() < 0.5 else words)


def benchmarks(rng: random.Random, folder: Path) -> Case:
    """Result files of benchmark tools."""
    vllm = {
        "model_id": "meta-llama/Llama-3.1-8B-Instruct", "backend": "vllm", "num_prompts": 100, "completed": 100,
        "request_rate": "inf", "max_concurrency": 8, "duration": 60.0, "total_input_tokens": 51200,
        "total_output_tokens": 12800, "request_throughput": 1.7, "mean_ttft_ms": 45.2, "mean_tpot_ms": 7.9,
        "median_ttft_ms": 40.0, "p99_ttft_ms": 90.0, "median_tpot_ms": 7.8, "p99_tpot_ms": 9.0,
    }  # fmt: skip
    rows = "phase,batch,tokens,latency_ms\n" + "".join(
        f"prefill,1,{n},{6 + 0.045 * n:.1f}\n" + f"decode,{n // 64},1024,{7 + n / 512:.1f}\n"
        for n in (128, 256, 512, 1024, 1536, 2048, 3072, 4096)
    )
    if rng.random() < 0.6:
        _text_or_bytes(folder / "bench.json", vllm, rng)
        name = "bench.json"
    else:
        cells = [line.split(",") for line in rows.splitlines()]
        for line in cells:
            for n in range(len(line)):
                if rng.random() < 0.01:
                    line[n] = rng.choice(ODD_TEXTS)
        name = "bench.csv"
        (folder / name).write_text("\n".join(map(",".join, cells)), "utf-8", "replace")
    return Case(("calibrate", name, "--model", "llama-3.1-8b", "--machine", "dgx-h100", "--tensor-parallel", "4"))


def plans(rng: random.Random, folder: Path) -> Case:
    """Plans that were printed, and edited since."""
    _text_or_bytes(folder / "plan.json", _plan(), rng)
    return Case(
        rng.choice(
            [
                ("export", "plan.json", "--html", "page.html"), ("cost", "plan.json", "--format", "json"),
                ("evaluate", "plan.json", "--format", "json"),
            ]
        )
    )  # fmt: skip


def fleets(rng: random.Random, folder: Path) -> Case:
    """Fleets to buy for."""
    data = {
        "model": "llama-3.1-8b", "machines": ["dgx-h100"], "plans": ["owned", "on_demand"], "design": "baseline",
        "workloads": {"chat": {"workload": "azure-conv-2023", "rate": "20/s", "slo": ["ttft=1s"]}},
        "horizon": "1 year", "periods_a_day": 2, "growth": "10 %", "time_limit_s": 5,
    }  # fmt: skip
    _text_or_bytes(folder / "fleet.yaml", data, rng)
    return Case(("procure", "fleet.yaml", "--format", "json"))


def sweeps(rng: random.Random, folder: Path) -> Case:
    """Grids of scenarios, and result files that somebody touched."""
    data = {
        "base": {"model": "llama-3.1-8b", "machines": ["dgx-h100"], "design": "baseline", "max_pools": 1},
        "vary": {"rate": {"from": "10/s", "to": "20/s", "points": 2}},
    }  # fmt: skip
    if rng.random() < 0.6:
        _text_or_bytes(folder / "sweep.yaml", data, rng)
    else:
        (folder / "sweep.yaml").write_text(as_yaml(data))
    words = ["sweep", "sweep.yaml", "--workers", "1", "--format", "json"]
    if rng.random() < 0.5:
        line = json.dumps({"planner_sweep": 2, "row": 0, "cost": -1, "x": float("nan")}).encode()
        (folder / "r.jsonl").write_bytes(scratched_bytes(line + b"\n" + line, rng))
        words += ["--results", "r.jsonl"]
    return Case(tuple(words))


AREAS: dict[str, Area] = {
    "options": options, "scenarios": scenarios,
    **{kind: functools.partial(_catalog_kind, kind) for kind in KINDS},
    "models": models, "workloads": workloads, "traces": traces, "configs": configs, "quotes": quotes,
    "benchmarks": benchmarks, "plans": plans, "fleets": fleets, "sweeps": sweeps,
}  # fmt: skip
