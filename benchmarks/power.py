"""Expected draw held against published measurements: `python benchmarks/power.py [--write] [--plot FILE.svg]`.

Fits p_w and a_c of (1) in planner/latency/power.py to every table together, then p_w of each accelerator by itself;
p_0 is the idle level and a_m zero. Prints the errors of every table with that table left out, those of each accelerator
with all its rows left out, machines as a whole, and the joules a token of one serving sweep. `--write` puts the values
into hardware_catalog/runtimes/. Times of steps are those of the catalog's vLLM (Splitwise's own runtime for its rows):
none of the measured rates or latencies of these tables is read.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measurements import SPLITWISE

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Precision
from planner.latency.batch import Batch, decode_batch, mixed_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.roofline import RooflineLatency

TABLES = Path(__file__).with_name("power_tables.csv")
RUNTIMES = Path(__file__).resolve().parents[1] / "hardware_catalog" / "runtimes"
PROMPT_TOKENS = 200.0  # where a table does not say
IDLE = 0.16  # of TDP, where nothing better is known
# Idle draw over TDP with a model loaded, as a server between requests is.
IDLE_OF = {"a100-sxm-80gb": 0.155, "mi300x": 0.25}
ARCHITECTURE = {
    "a100-sxm-80gb": "ampere", "h100-sxm": "hopper", "b200-sxm": "blackwell", "mi300x": "cdna3",
}  # fmt: skip
SOURCES = {
    "ml-energy-3.0": "ML.ENERGY leaderboard 3.0, December 2025 (github.com/ml-energy/leaderboard, "
    "public/data/tasks/lm-arena-chat.json at 0ea52b6, Apache-2.0): mean GPU power of steady vLLM servers by batch",
    "splitwise": "Splitwise profile (github.com/Mutinifni/splitwise-sim, MIT): mean GPU power of a request, A100",
    "h200-dcgm": "H200 MoE Decode: FLOP Utilization Sweep Results (a public repository's report, DCGM counters and "
    "nvidia-smi): one H200 with CUDA graphs, by concurrency",
    "mi300x-xe9680": "github.com/cmontemuino/amd-mi300x-ml-benchmarks at 02aeaac, datasets/sample-results/monitoring: "
    "one of eight MI300X in a Dell XE9680, samples while it decodes; idle 141-154 W, 185-192 W with a model loaded",
    "chuyishang": "github.com/chuyishang/inference-energy at 6e617d2, results_paste.md: A100 80 GB, vLLM, 7.6 "
    "requests in flight on average; idle 59-62 W",
    "serial-alice": "Serial Alice GPU energy benchmark, June 2026 (api.serialalice.pt/alice-benchmark): H200 idle "
    "80.3 W; Mistral 7B on H100, 732 and 13.8 uWh a token at batch 1 and 128",
}
SYSTEMS = (
    ("8 x H100 (HGX), training, most", "dgx-h100", 8400.0, "Latif et al., IEEE Access 13 (2025) 61740, rated 10.2 kW"),
    ("8 x H100 (HGX), training, mean", "dgx-h100", 7750.0, "Newkirk et al., arXiv 2506.14551: 76 % of 10.2 kW"),
    ("8 x MI300X, Qwen3-235B FP8", "8x-mi300x", 7050.0, "Metrum AI, March 2026: 6.5 to 7.6 kW, Dell server"),
)


PAGE = """# Expected draw against measurements

Written by `python benchmarks/power.py > docs/power.md`; do not edit by hand. Draw of one GPU over its rated
power, measured and by (5.1) of [method.md](method.md), with steps as the catalog's vLLM has them. Two
coefficients are shared (the share of a step in which kernels work, and compute), the first of them is each
chip's own where a table has it. What a plan prints as the error of its draw covers 80 % of the rows of tables
left out. "All of" leaves every row of a chip out, as for one that nobody measured.
"""
HEAD = "| {:<22} | rows | median | 80 %   | bias    |\n|------------------------|------|--------|--------|---------|"


@dataclass(frozen=True)
class Row:
    """One measured draw over TDP, and what the roofline says of its steps: (share of time, u_c, w)."""

    table: str
    accelerator: str
    label: str
    share: float
    steps: tuple[tuple[float, float, float], ...]


def step_of(
    catalog: Catalog, model: str, machine: str, runtime: str, precision: Precision, n: int, experts: int = 1
) -> RooflineLatency:
    """Step times of a model over `n` accelerators of a machine."""
    m = catalog.machine(machine)
    layout = Layout(
        tensor_parallel=n, expert_parallel=experts, precision=precision,
        kv_precision="fp16" if precision == "fp16" else "bf16",
    )  # fmt: skip
    return RooflineLatency(catalog.llm(model), m, catalog.accelerator_of(m), catalog.runtime(runtime), layout)


def busy(step: RooflineLatency, batch: Batch) -> tuple[float, float, float]:
    """Time of a step [s], its compute utilisation and the share of it in which kernels work."""
    return float(step.step_time_s(batch)), float(step.utilisation(batch)[0]), float(step.working(batch))


def served(record: dict[str, str], catalog: Catalog) -> tuple[RooflineLatency, Batch]:
    """The mean step of a server that holds a batch: its decodes, and the prompts that replace those that end."""
    n, output = float(record["batch"]), float(record["output_tokens"] or 200.0)
    prompt = float(record["prompt_tokens"] or PROMPT_TOKENS)
    step = step_of(
        catalog, record["model"], record["machine"], "vllm-2026", record["precision"],  # type: ignore[arg-type]
        int(record["accelerators"]), int(record["expert_parallel"]),
    )  # fmt: skip
    return step, mixed_batch(prompt, n / output, n, prompt + output / 2.0)


def records() -> list[dict[str, str]]:
    """Rows of the file."""
    with TABLES.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_of(catalog: Catalog) -> list[Row]:
    """Every measured draw of a busy accelerator."""
    found = []
    for record in records():
        if record["phase"] != "serving" or not record["power_w"]:
            continue
        accelerator = catalog.accelerator_of(catalog.machine(record["machine"]))
        _, compute, working = busy(*served(record, catalog))
        n, batch = record["accelerators"], float(record["batch"])
        label = f"{record['model']} {record['precision']}, {n} GPU, batch {batch:.0f}"
        share = float(record["power_w"]) / accelerator.tdp_w
        found.append(Row(record["table"], accelerator.name, label, share, ((1.0, compute, working),)))
    return found + (splitwise_rows(catalog) if SPLITWISE.exists() else [])


def splitwise_rows(catalog: Catalog) -> list[Row]:
    """Mean power of whole requests on A100: a prompt and its tokens."""
    groups: dict[tuple[str, int, int, int, int], list[float]] = defaultdict(list)
    with SPLITWISE.open(newline="", encoding="utf-8") as file:
        for r in csv.DictReader(file):
            if r["hardware"] == "a100-80gb" and float(r["average_power"]) > 0:  # zero: not recorded
                model = r["model"].replace("llama2", "llama-2")
                at = (model, *(int(r[c]) for c in ("tensor_parallel", "batch_size", "prompt_size", "token_size")))
                groups[at].append(float(r["average_power"]))  # type: ignore[index]
    found = []
    for (model, n, batch, prompt, tokens), shares in groups.items():
        step = step_of(catalog, model, "dgx-a100", "splitwise-2023", "fp16", n)
        first = busy(step, prefill_batch(prompt, batch))
        later = busy(step, decode_batch(batch, prompt + tokens / 2))
        whole = first[0] + later[0] * (tokens - 1)
        parts = ((first[0] / whole, *first[1:]), (later[0] * (tokens - 1) / whole, *later[1:]))
        label = f"{model} fp16, {n} GPU, batch {batch} x {prompt}"
        found.append(Row("splitwise", "a100-sxm-80gb", label, float(np.median(shares)), parts))
    return found


def modelled(row: Row, working: float, compute: float, idle: float) -> float:
    """Draw over TDP, equation (1)."""
    return sum(w * float(np.clip(idle + working * k + compute * c, idle, 1.0)) for w, c, k in row.steps)


def _fit(residuals: Callable[[np.ndarray], list[float]], start: list[float]) -> list[float]:
    from scipy.optimize import least_squares

    return [float(x) for x in least_squares(residuals, start, bounds=(0.0, 3.0), loss="soft_l1", f_scale=0.1).x]


def shared_fit(rows: Sequence[Row], idle: Callable[[str], float]) -> list[float]:
    """p_w and a_c of all accelerators together."""
    return _fit(lambda x: [np.log(modelled(r, x[0], x[1], idle(r.accelerator)) / r.share) for r in rows], [0.8, 0.2])


def own_fit(rows: Sequence[Row], compute: float, idle: float) -> float:
    """p_w of one accelerator, all else given: the best of a grid, as draw is flat beyond TDP."""

    def off(working: float) -> float:
        return sum(np.sqrt(1.0 + (np.log(modelled(r, working, compute, idle) / r.share) / 0.1) ** 2) for r in rows)

    return float(min(np.linspace(0.3, 2.0, 341), key=off))


def known_idle(accelerator: str) -> float:
    """Idle draw over TDP."""
    return IDLE_OF.get(accelerator, IDLE)


def left_out(rows: Sequence[Row], held: Sequence[Row]) -> np.ndarray:
    """Errors of `held` with the fit of the others; an accelerator that has none of those takes the shared values."""
    others = [r for r in rows if r not in held]
    seen = {r.accelerator for r in others}

    def idle(name: str) -> float:
        return known_idle(name) if name in seen else IDLE

    working, compute = shared_fit(others, idle)
    own = {
        name: own_fit([r for r in others if r.accelerator == name], compute, idle(name))
        for name in {r.accelerator for r in held} & seen
    }
    return np.array(
        [modelled(r, own.get(r.accelerator, working), compute, idle(r.accelerator)) / r.share - 1.0 for r in held]
    )


def _print(title: str, errors: np.ndarray) -> None:
    size = np.abs(errors)
    print(
        f"| {title:<22} | {size.size:>4} | {100 * np.median(size):>4.1f} % | {100 * np.quantile(size, 0.8):>4.1f} % "
        f"| {100 * np.median(errors):>+5.1f} % |"
    )


def joules(catalog: Catalog) -> list[tuple[dict[str, str], float]]:
    """Measured rows of energy a token, each with the model's [J]."""
    found = []
    for record in records():
        if record["phase"] == "serving" and record["energy_j_per_token"]:
            step, batch = served(record, catalog)
            time_s, compute, working = busy(step, batch)
            accelerator = catalog.accelerator_of(catalog.machine(record["machine"]))
            e = catalog.runtime("vllm-2026").efficiency(accelerator)
            demand = e.power_base + e.power_working * working + e.power_compute * compute
            power_w = accelerator.tdp_w * min(max(demand, e.power_idle), 1.0)
            found.append((record, int(record["accelerators"]) * power_w * time_s / float(record["batch"])))
    return found


def report(catalog: Catalog, rows: Sequence[Row]) -> tuple[list[float], dict[str, float], float]:
    """Print every table; the shared fit, each accelerator's own p_w, and the error to state."""
    fit = shared_fit(rows, known_idle)
    own = {}
    print(HEAD.format("fitted to"))
    for name in sorted({r.accelerator for r in rows}):
        of = [r for r in rows if r.accelerator == name]
        own[name] = own_fit(of, fit[1], known_idle(name))
        _print(name, np.array([modelled(r, own[name], fit[1], known_idle(name)) / r.share - 1.0 for r in of]))
    print("\n" + HEAD.format("left out"))
    errors = []
    for table in sorted({r.table for r in rows}):
        errors.append(left_out(rows, [r for r in rows if r.table == table]))
        _print(table, errors[-1])
    every = np.concatenate(errors)
    _print("every table in turn", every)
    for name in sorted(own):
        _print(f"all of {name}", left_out(rows, [r for r in rows if r.accelerator == name]))
    held = [(r, e) for t, es in zip(sorted({r.table for r in rows}), errors, strict=True)
            for r, e in zip([r for r in rows if r.table == t], es, strict=True)]  # fmt: skip
    print("\n| worst rows, left out                                        | measured | model |\n|---|---|---|")
    for r, e in sorted(held, key=lambda pair: -abs(pair[1]))[:6]:
        print(f"| {r.table}, {r.accelerator}, {r.label} | {r.share:.2f} | {r.share * (1 + e):.2f} |")
    print("\n| machine | measured | model, accelerators at 0.9 TDP | source |\n|---|---|---|---|")
    for what, name, measured_w, source in SYSTEMS:
        m = catalog.machine(name)
        full_w = m.chassis_power_w + 0.9 * m.n_accelerators * catalog.accelerator_of(m).tdp_w
        print(f"| {what} | {measured_w / 1e3:.2f} kW | {full_w / 1e3:.2f} kW | {source} |")
    return fit, own, float(np.quantile(np.abs(every), 0.8))


def sweep(catalog: Catalog, plot: str | None) -> None:
    """Joules a token of one serving sweep beside the model's."""
    all_of = joules(catalog)
    errors = np.array([model / float(r["energy_j_per_token"]) - 1.0 for r, model in all_of])
    print(f"\nJoules a token, {errors.size} rows: median {100 * np.median(np.abs(errors)):.1f} %")
    one = [(r, j) for r, j in all_of if r["model"] == "llama-3.1-70b" and r["machine"] == "dgx-h100"]
    print("\n| Llama-3.1-70B, 4 H100, batch | measured J/token | model |\n|---|---|---|")
    for r, j in one:
        print(f"| {float(r['batch']):.0f} | {float(r['energy_j_per_token']):.2f} | {j:.2f} |")
    if plot:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(6, 4))
        batches = [float(r["batch"]) for r, _ in one]
        axes.loglog(batches, [float(r["energy_j_per_token"]) for r, _ in one], "o", label="measured (ML.ENERGY 3.0)")
        axes.loglog(batches, [j for _, j in one], "-", label="model")
        axes.set(xlabel="sequences in a batch", ylabel="J a token, 4 H100", title="Llama-3.1-70B, vLLM, bf16")
        axes.legend()
        figure.savefig(plot)


def write(fit: Sequence[float], own: dict[str, float], error: float) -> None:
    """Put the values into the runtimes of 2026."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 118, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    for file in sorted(RUNTIMES.glob("*-2026.yaml")):
        data = yaml.load(file)
        values = {
            "power_base": IDLE, "power_working": round(fit[0], 3), "power_compute": round(fit[1], 3),
            "power_memory": 0.0, "power_idle": IDLE, "power_error": round(error, 2),
        }  # fmt: skip
        data["defaults"].update(values)
        for name, working in own.items():
            of_kind = name in ARCHITECTURE
            block = data["architectures"].get(ARCHITECTURE[name]) if of_kind else data["accelerators"].get(name)
            if block is None:
                continue
            block["power_working"] = round(working, 3)
            if name in IDLE_OF:
                block["power_base"] = block["power_idle"] = IDLE_OF[name]
        source = "benchmarks/power.py: one fit to the power tables it names (A100, H100, H200, B200, MI300X)"
        for name in values:
            data["provenance"][f"defaults.{name}"] = {"kind": "derived", "source": source}
        temporary = file.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            yaml.dump(data, stream)
        os.replace(temporary, file)


def main() -> None:
    """Print, and write or draw where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--plot")
    asked = parser.parse_args()
    catalog = Catalog.default()
    print(PAGE)
    fit, own, error = report(catalog, rows_of(catalog))
    print(f"\nshared p_w {fit[0]:.3f}, a_c {fit[1]:.3f}; own p_w " + ", ".join(f"{n} {v:.3f}" for n, v in own.items()))
    print(f"stated error {error:.2f}")
    if asked.write:
        write(fit, own, error)
        catalog = Catalog.default()
    sweep(catalog, asked.plot)
    print("\nSources:\n" + "\n".join(f"- `{name}`: {text}" for name, text in SOURCES.items()))


if __name__ == "__main__":
    main()
