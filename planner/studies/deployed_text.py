"""Texts of a deployment: YAML, the load to send, and the README that says what to expect."""

from __future__ import annotations

import io
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from planner.planning.plan import Plan
from planner.scenario.bundle import MACHINE_LABEL
from planner.scenario.resolve import Problem
from planner.simulation.arrivals import draw_requests
from planner.studies.deployed_servers import PRODUCTS, PoolServers
from planner.units import format_time
from planner.workload.objectives import METRIC_TITLES

LOAD_FILE = "load.jsonl"
FEWEST_REQUESTS, MOST_REQUESTS = 200, 5000
RUN_S = 300.0  # how long the load of the benchmark lasts
SEED = 0


def yaml_text(documents: Iterable[Mapping[str, Any]]) -> str:
    """Documents as one YAML text, keys in the order they have."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 10_000  # a command's words stay on their line
    stream = io.StringIO()
    for n, document in enumerate(documents):
        stream.write("---\n" if n else "")
        writer.dump(dict(document), stream)
    return stream.getvalue()


def n_requests_of(plan: Plan) -> int:
    """Requests of the benchmark: about five minutes of the planned load."""
    return int(min(max(math.ceil(plan.rate_per_s * RUN_S), FEWEST_REQUESTS), MOST_REQUESTS))


def load_text(plan: Plan, problem: Problem) -> str:
    """The planned load as a trace: sizes and arrivals drawn as the simulator draws them.

    One JSON object a line with `timestamp` [ms], `input_length` and `output_length` [tokens], the form of Mooncake's
    traces that AIPerf replays.
    """
    drawn = draw_requests(
        problem.sizes, plan.rate_per_s, n_requests_of(plan), arrival_cv2=problem.need.traffic.arrival_cv2, seed=SEED
    )
    rows = zip(drawn.arrival_s, drawn.prompt_tokens, drawn.output_tokens, strict=True)
    return "".join(
        json.dumps(
            {"timestamp": round(1e3 * float(at)), "input_length": round(float(n)), "output_length": round(float(m))}
        )
        + "\n"
        for at, n, m in rows
    )


def benchmark_text(plan: Plan, model: str) -> str:
    """Commands that send the planned load: exactly with AIPerf, at its means with the others."""
    rate, n = f"{plan.rate_per_s:.6g}", str(n_requests_of(plan))
    prompt, output = round(plan.mean_prompt_tokens), round(plan.mean_output_tokens)
    url, name = '"$URL"', shlex.quote(model)
    return f"""#!/bin/sh
# Send the planned load to URL and measure it; then: planner validate RESULT plan.json
# URL=http://gateway:8000 sh benchmark.sh [aiperf|vllm|guidellm|inference-perf]
set -eu
: "${{URL:?the address of the gateway}}"
case "${{1:-aiperf}}" in
aiperf) # the very sizes and arrivals that were planned for
  exec aiperf profile --model {name} --url {url} --endpoint-type completions --streaming \\
    --input-file {LOAD_FILE} --custom-dataset-type mooncake_trace --fixed-schedule ;;
vllm) # Poisson arrivals at the planned rate, every request of the mean size: tails come out shorter
  exec vllm bench serve --base-url {url} --model {name} --endpoint /v1/completions --dataset-name random \\
    --random-input-len {prompt} --random-output-len {output} --ignore-eos --request-rate {rate} --num-prompts {n} \\
    --percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,99 --save-result --result-filename vllm.json ;;
guidellm)
  exec guidellm benchmark --target {url} --model {name} --rate-type poisson --rate {rate} --max-requests {n} \\
    --data "prompt_tokens={prompt},output_tokens={output}" --output-path guidellm.json ;;
inference-perf)
  exec inference-perf --config_file inference-perf.yaml ;;
*) echo "aiperf, vllm, guidellm or inference-perf" >&2; exit 2 ;;
esac
"""


def inference_perf_config(plan: Plan, model: str) -> dict[str, Any]:
    """The file of inference-perf for the planned rate and mean sizes."""
    return {
        "api": {"type": "completion", "streaming": True},
        "load": {"type": "poisson", "stages": [{"rate": round(plan.rate_per_s, 4), "duration": int(RUN_S)}]},
        "server": {"type": "vllm", "model_name": model, "base_url": "http://gateway:8000", "ignore_eos": True},
        "data": {
            "type": "random",
            "input_distribution": {"mean": round(plan.mean_prompt_tokens), "std": 0,
                                   "min": round(plan.mean_prompt_tokens), "max": round(plan.mean_prompt_tokens)},
            "output_distribution": {"mean": round(plan.mean_output_tokens), "std": 0,
                                    "min": round(plan.mean_output_tokens), "max": round(plan.mean_output_tokens)},
        },
        "report": {"request_lifecycle": {"summary": True, "per_request": False, "percentiles": [50, 90, 99]}},
    }  # fmt: skip


def readme_text(
    plan: Plan, servers: Sequence[PoolServers], target: str, version: str, notes: Sequence[str],
    scaling: Sequence[str] = (),
) -> str:  # fmt: skip
    """The README of a bundle: what it runs, what to expect of it, how to check, and what it cannot say."""
    return "\n".join([
        f"# {plan.design} for {plan.model} on {target}", "",
        f"Written by planner {plan.planner_version} for {version}.",
        f"{plan.workload} at {plan.rate_per_s:.4g} requests/s.",
        "", "## What runs", "", *_pools(servers), "",
        "## Before", "", *_before(servers), "",
        "## What to expect", "", *_expected(plan), "",
        *(["## Replicas by load", "", *scaling, ""] if scaling else []),
        "## How to check", "",
        "`benchmark.sh` sends the planned load. Then, with the file that it wrote:", "",
        "```sh", "planner validate RESULT plan.json", "planner evaluate .", "```", "",
        "`planner evaluate .` reads these manifests back, as they are after any edit, and predicts what they do.", "",
        *(["## What this target cannot say", "", *(f"- {note}" for note in notes), ""] if notes else []),
    ])  # fmt: skip


def _pools(servers: Sequence[PoolServers]) -> Iterator[str]:
    yield "| pool | machines | replicas | accelerators of one | at most | requests/s |"
    yield "|---|---|---|---|---|---|"
    for s in servers:
        spares = f" + {s.pool.spares} spare" if s.pool.spares else ""
        yield (
            f"| {s.name} | {s.pool.count} x {s.pool.machine}{spares} | {s.replicas} | {s.per_pod * s.pods} | "
            f"{s.settings.max_sequences} sequences, {s.settings.max_tokens} tokens a step | {s.pool.rate_per_s:.4g} |"
        )


def _before(servers: Sequence[PoolServers]) -> Iterator[str]:
    yield f"Pods are placed by the label `{MACHINE_LABEL}`. Put it on the nodes:"
    yield ""
    yield "```sh"
    for machine, accelerator in dict.fromkeys((s.machine, s.accelerator) for s in servers):
        product = PRODUCTS.get(accelerator)
        nodes = f"-l nvidia.com/gpu.product={product}" if product else "NODE..."
        yield f"kubectl label nodes {nodes} {MACHINE_LABEL}={machine}"
    yield "```"
    if any(s.pool.spares for s in servers):
        yield ""
        yield "Spare machines are labelled too and stay idle: Kubernetes starts a failed server again on one of them."


def _expected(plan: Plan) -> Iterator[str]:
    simulated = plan.certificate.percentiles if plan.certificate else []
    yield f"{'Simulated' if simulated else 'Predicted'}, steps within +/- {100 * plan.step_time_error:.0f} %."
    yield ""
    yield "| | p50 | p90 | p99 |"
    yield "|---|---|---|---|"
    rows: list[tuple[str, list[float | None]]] = [
        (r.metric, [r.p50_s.value, r.p90_s.value, r.p99_s.value]) for r in simulated
    ] or [(p.metric, [p.p50_s, p.p90_s, p.p99_s]) for p in plan.percentiles]
    for metric, values in rows:
        cells = " | ".join("without end" if v is None else format_time(v) for v in values)
        yield f"| {METRIC_TITLES[metric]} | {cells} |"
    yield ""
    found = {o.objective: o.met for o in plan.certificate.objectives} if plan.certificate else {}
    for p in plan.predicted:
        met, how = (found[p.objective], "simulated") if p.objective in found else (p.met, "predicted")
        yield f"- {p.objective}: {'met' if met else 'MISSED'} as {how}"
