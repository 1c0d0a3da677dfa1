"""Simulated servers beside measured ones: prints docs/served_systems.md.

    python benchmarks/served_systems.py > docs/served_systems.md
    python benchmarks/served_systems.py --open          the open loop alone
    python benchmarks/served_systems.py --closed        the closed loop alone
    python benchmarks/served_systems.py --closed --file RUNS.csv    of other runs in the same form
    python benchmarks/served_systems.py --fit           the front end fitted on each of two servers, scored on the other

The posing. Open loop: as many requests as were sent, all of the mean sizes, over the time that the measured rate makes
of them; nothing is discarded; means of three draws. The client calls its load constant and draws exponential gaps that
it then scales to the run's duration (inference-perf, loadgen/load_timer.py, ConstantLoadTimer): so do we. The highest
rate kept up with is at even gaps. Scheduling times and front end of the runtime come from these runs: a step's and a
sequence's from the chunked server, a whole prompt's from the other, the front end from both (`--fit` scores it on the
server that it was not fitted on). Closed loop: 10 N requests of N clients who all start together and do not think;
means over all of them; nothing is fitted to these runs. Lengths and server settings are those of the tools that made
the runs, see `benchmarks/closed_loop.py`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from closed_loop import problem_of, replica, simulated, simulation_of
from measurements import DATA, SERVING, serving_runs

from planner.catalog.catalog import Catalog
from planner.catalog.schema import FrontEnd, Runtime
from planner.engine.settings import with_settings
from planner.latency.shortcuts import Shortcuts
from planner.simulation.arrivals import requests_of
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.outcome import Outcome
from planner.simulation.summary import values_of

OPEN_LOOP = DATA / "serving_open_loop_llama31_8b_h100.csv"
SEQUENCES = 128  # of both servers of the open loop
KEPT_UP = 5  # rates of each server below saturation
SEEDS = (1, 2, 3)  # of the gaps between arrivals
ENGINES = ("vllm", "sglang", "trtllm")
ODD_SIZES = (4000, 1000)  # twice as fast as their neighbours for reasons that the file does not give


@dataclass(frozen=True)
class Row:
    """One rate of the open loop [s, tokens, requests/s]."""

    server: str
    rate_per_s: float
    n_requests: int
    prompt_tokens: float
    shared_tokens: float
    output_tokens: float
    ttft_mean_s: float
    ttft_p99_s: float
    tbt_mean_s: float
    e2e_p50_s: float

    @property
    def chunked(self) -> bool:
        """Whether the server chunks prompts and keeps their common prefix."""
        return self.server.startswith("chunked")


def open_rows() -> list[Row]:
    """The file, row by row."""
    with OPEN_LOOP.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                r["server"], float(r["rate_per_s"]), int(r["n_requests"]), float(r["prompt_tokens_mean"]),
                float(r["prompt_tokens_shared"]), float(r["output_tokens_mean"]), float(r["ttft_mean_s"]),
                float(r["ttft_p99_s"]), float(r["tbt_mean_s"]), float(r["e2e_p50_s"]),
            )
            for r in csv.DictReader(file)
        ]  # fmt: skip


def server(row: Row, runtime: Runtime | None = None) -> ClusterSimulation:
    """The server of a row of the open loop."""
    problem = problem_of("llama-3.1-8b", "dgx-h100")
    with_prefix = Shortcuts(prefix_cached=row.shared_tokens / row.prompt_tokens) if row.chunked else Shortcuts()
    started = with_settings(runtime or problem.runtime, max_batch=SEQUENCES, chunked=row.chunked)
    serving = replace(problem.serving, runtime=started, shortcuts=with_prefix)
    return simulation_of(problem, replica(problem, "dgx-h100", serving, 1))


def run_open(row: Row, runtime: Runtime | None = None, seed: int | None = None) -> Outcome:
    """What the server of a row does at its rate: at even gaps, or drawn ones."""
    n = row.n_requests
    gaps = np.ones(n) if seed is None else np.random.default_rng(seed).exponential(1.0, n)
    arrival_s = np.cumsum(gaps) * (n / row.rate_per_s / gaps.sum())
    sizes = np.full(n, row.prompt_tokens), np.full(n, row.output_tokens)
    return server(row, runtime).run(requests_of(arrival_s, *sizes))


def measured_by(row: Row, runtime: Runtime | None = None) -> dict[str, float]:
    """What the client of a row would measure, a mean over draws [s]."""
    found: dict[str, list[float]] = {"TTFT mean": [], "TTFT P99": [], "TBT mean": [], "E2E P50": []}
    for seed in SEEDS:
        ttft, tbt, e2e = (values_of(run_open(row, runtime, seed), metric) for metric in ("ttft", "tbt", "e2e"))
        values = ttft.mean(), np.quantile(ttft, 0.99), np.nanmean(tbt), np.median(e2e)
        for name, value in zip(found, values, strict=True):
            found[name].append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def highest_rate_per_s(row: Row, runtime: Runtime | None = None) -> float:
    """Largest rate at which the last requests of a minute wait no longer than the first [requests/s], to 0.5 %."""
    low, high = 0.5 * row.rate_per_s, 2.0 * row.rate_per_s
    while high / low > 1.005:
        rate = (low * high) ** 0.5
        ttft = values_of(run_open(replace(row, rate_per_s=rate, n_requests=int(60 * rate)), runtime), "ttft")
        tenth = ttft.size // 10
        low, high = (rate, high) if ttft[-tenth:].mean() < 1.5 * ttft[tenth : 3 * tenth].mean() else (low, rate)
    return low


def _off(value: float, measured: float) -> str:
    return f"{value / measured - 1.0:+.0%}"


def open_section() -> str:
    """The open loop: a row a rate, and what the rates come to."""
    lines = [
        "## Open loop: Llama-3.1-8B bf16 on one H100, vLLM 0.11, arrivals as the client draws them, 128 sequences\n",
        "| server | rate/s | TTFT mean ms, measured | simulated | TTFT P99 ms | simulated | TBT mean ms | simulated "
        "| E2E P50 ms | simulated |",
        "|" + "---|" * 10,
    ]
    errors: dict[str, list[float]] = {"TTFT mean": [], "TBT mean": [], "E2E P50": []}
    highest: dict[str, tuple[float, Row]] = {}
    seen: dict[str, int] = {}
    first_p99, last_p99 = {}, {}
    for row in open_rows():
        seen[row.server] = seen.get(row.server, 0) + 1
        most = 4 if not row.chunked else KEPT_UP
        if seen[row.server] > most:
            continue
        found = measured_by(row)
        measured = {"TTFT mean": row.ttft_mean_s, "TBT mean": row.tbt_mean_s, "E2E P50": row.e2e_p50_s}
        for name, value in measured.items():
            errors[name].append(found[name] / value - 1.0)
        p99 = found["TTFT P99"]
        first_p99.setdefault(row.server, p99)
        name = "chunked" if row.chunked else "whole"
        lines.append(
            f"| {name} | {row.rate_per_s:.1f} | {1e3 * row.ttft_mean_s:.1f} | {1e3 * found['TTFT mean']:.1f} "
            f"({_off(found['TTFT mean'], row.ttft_mean_s)}) | {1e3 * row.ttft_p99_s:.1f} | {1e3 * p99:.1f} "
            f"({_off(p99, row.ttft_p99_s)}) | {1e3 * row.tbt_mean_s:.2f} | {1e3 * found['TBT mean']:.2f} "
            f"({_off(found['TBT mean'], row.tbt_mean_s)}) | {1e3 * row.e2e_p50_s:.0f} | {1e3 * found['E2E P50']:.0f} "
            f"({_off(found['E2E P50'], row.e2e_p50_s)}) |"
        )
        highest[row.server] = highest_rate_per_s(row), row
        last_p99[row.server] = p99
    lines.append("\n| over the nine rows below saturation | median error | largest |\n|---|---|---|")
    for name, values in errors.items():
        size = np.abs(values)
        lines.append(f"| {name} | {np.median(size):.1%} | {values[int(size.argmax())]:+.0%} |")
    lines.append("\n| server | highest rate/s, measured | simulated |\n|---|---|---|")
    for name, (rate, row) in highest.items():
        known = "168-173" if row.chunked else "101-103"
        lines.append(f"| {name} | {known} | {rate:.1f} |")
    for name, (rate, row) in highest.items():
        near = replace(row, rate_per_s=0.99 * rate, n_requests=int(60 * rate))
        p99 = measured_by(near)["TTFT P99"]
        lines.append(
            f"\nAt 99 % of its own highest rate the simulated server ({name}) has a TTFT P99 of {1e3 * p99:.0f} ms, "
            f"{p99 / first_p99[name]:.1f} times that at one request a second."
        )
    return "\n".join(lines)


def closed_section(catalog: Catalog, file: Path) -> str:
    """The closed loop: errors by engine, model and precision."""
    runs = serving_runs(file)
    keys = [
        ("odd" if (r.input_tokens, r.output_tokens) == ODD_SIZES else r.backend, r.model, r.precision) for r in runs
    ]
    found = np.array([simulated(catalog, run) for run in runs])
    measured = np.array([(r.ttft_s, r.tpot_s) for r in runs])
    errors = found / measured - 1.0
    lines = [
        "## Closed loop: Qwen3-32B and Llama-3.1-70B on H100\n",
        "| server | model | weights | runs | TTFT: median error | bias | TPOT: mean error | bias |",
        "|" + "---|" * 8,
    ]
    groups: Sequence[tuple[str, ...]] = [*((b,) for b in ENGINES), *sorted(set(keys))]
    for group in groups:
        at = np.array([key[: len(group)] == group for key in keys])
        if not at.any():
            continue
        label = ["rows of 4000 + 1000 tokens" if group[0] == "odd" else group[0], *group[1:], "", ""][:3]
        e = errors[at]
        lines.append(
            f"| {' | '.join(label)} | {int(at.sum())} | {np.median(np.abs(e[:, 0])):.0%} | {np.median(e[:, 0]):+.0%} "
            f"| {np.abs(e[:, 1]).mean():.1%} | {e[:, 1].mean():+.0%} |"
        )
    return "\n".join(lines)


def fit_section() -> str:
    """The front end's time a request, from each server of the open loop, and how the other's TTFT is then met."""
    runtime = problem_of("llama-3.1-8b", "dgx-h100").runtime
    none = runtime.model_copy(update={"batching": runtime.batching.model_copy(update={"front_end": FrontEnd()})})
    kept: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row in open_rows():
        if row.rate_per_s < (171.0 if row.chunked else 93.0):
            kept[row.chunked].append((row.ttft_mean_s, measured_by(row, none)["TTFT mean"]))
    fitted = {chunked: float(np.median([m - s for m, s in rows])) for chunked, rows in kept.items()}
    lines = [
        "## The front end, fitted on one server and scored on the other\n",
        "Median of the TTFT that no step explains, over the rates below saturation.\n",
        "| fitted on | ms a request | median TTFT error on the other |",
        "|---|---|---|",
    ]
    for chunked, value in fitted.items():
        other = [abs((s + value) / m - 1.0) for m, s in kept[not chunked]]
        lines.append(f"| {'chunked' if chunked else 'whole prompts'} | {1e3 * value:.1f} | {np.median(other):.1%} |")
    return "\n".join(lines)


def main() -> None:
    """Print the page, or a part of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for part in ("open", "closed", "fit"):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--file", type=Path, default=SERVING, help="runs of the closed loop")
    options = parser.parse_args()
    everything = not (options.open or options.closed or options.fit)
    catalog = Catalog.default()
    print("# Served systems, measured and simulated\n\nPrinted by `benchmarks/served_systems.py`; do not edit.\n")
    print("\n\n".join((__doc__.split("\n\n")[2].replace("\n", " "), "")))
    if everything or options.open:
        print(open_section() + "\n")
    if everything or options.fit:
        print(fit_section() + "\n")
    if everything or options.closed:
        print(closed_section(catalog, options.file))


if __name__ == "__main__":
    main()
