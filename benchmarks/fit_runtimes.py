"""Fit the few physical parameters of the built-in runtimes to measurements and write them into their files.

    python benchmarks/fit_runtimes.py             # print what the fits find
    python benchmarks/fit_runtimes.py --write     # and put it into hardware_catalog/runtimes/

`splitwise-2023` is fitted to the measured profile of the Splitwise authors, eight parameters a GPU. `vllm-2026` is
fitted to Llama-3.1-8B steps summed from measured kernels: five parameters shared by all GPUs, and each GPU's
efficiencies held near the medians of its kernels by a prior (KERNEL_MEDIANS below; they come from
the same tables as the steps, so a GPU "left out" of the fit is not wholly unseen). Parameters are bounded and fitted in
their logarithms, errors are logarithms too, and the loss is soft-L1 with a scale of 5 %. Needs scipy (a development
dependency: the planner itself never imports it).
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measurements import Step, kernel_steps, splitwise_steps
from numpy.typing import NDArray
from ruamel.yaml import YAML
from scipy.optimize import least_squares

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency, Runtime
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.roofline import RooflineLatency

Floats = NDArray[np.float64]
Values = Mapping[str, float]  # parameter name -> value; `gemm.bf16` and `gemm.fp8` stand for their twins too
RUNTIMES = Path(__file__).resolve().parents[1] / "hardware_catalog" / "runtimes"

LOSS_SCALE = 0.05
PRIOR_SIGMA = 0.10  # of the logarithm of an efficiency around its kernels' median
BOUNDS: dict[str, tuple[float, float, float]] = {  # lowest, highest, where to start
    "gemm.bf16": (0.2, 1.0, 0.6),
    "gemm.fp8": (0.2, 1.0, 0.5),
    "weight_streaming": (0.4, 1.0, 0.85),
    "prefill_attention": (0.1, 1.0, 0.5),
    "decode_attention": (0.3, 1.0, 0.75),
    "link": (0.05, 1.0, 0.5),
    "slow_collective_link": (0.02, 1.0, 0.2),
    "direct_link": (0.02, 1.0, 0.25),
    "gemm_half_tokens": (1.0, 400.0, 50.0),
    "kernel_launch": (1e-6, 1e-5, 4e-6),
    "all_reduce_alpha": (1e-6, 1e-4, 2e-5),
    "direct_all_reduce_alpha": (5e-7, 5e-5, 4e-6),
    "all_reduce_hop": (1e-7, 2e-5, 5e-6),
    "layer_overhead": (1e-5, 6e-4, 1.6e-4),
    "prefill_layer_floor": (1e-4, 2e-3, 6e-4),
    "sequence_overhead": (1e-5, 1e-3, 3e-4),
}
SPLITWISE = ("gemm.bf16", "weight_streaming", "layer_overhead", "prefill_layer_floor", "sequence_overhead",
             "all_reduce_hop", "link", "slow_collective_link")  # fmt: skip
SHARED = ("kernel_launch", "gemm_half_tokens", "all_reduce_alpha", "direct_all_reduce_alpha", "direct_link")
OWN = ("gemm.bf16", "gemm.fp8", "weight_streaming", "prefill_attention", "decode_attention", "link")
# Medians over public vLLM kernel profiles (aiconfigurator 0.12), as fractions of the peaks in the catalog. `link`
# is the bus bandwidth of 67 MB all-reduces; h200 as h100 (same board); b200 and l40s are assumed, not measured.
KERNEL_MEDIANS: dict[str, Values] = {
    "dgx-a100": {"gemm.bf16": 0.90, "weight_streaming": 0.71, "decode_attention": 0.69, "prefill_attention": 0.53,
                 "link": 0.58},
    "dgx-h100": {"gemm.bf16": 0.81, "gemm.fp8": 0.49, "weight_streaming": 0.84, "decode_attention": 0.80,
                 "prefill_attention": 0.55, "link": 0.81},
    "dgx-h200": {"gemm.bf16": 0.79, "gemm.fp8": 0.55, "weight_streaming": 0.77, "decode_attention": 0.73,
                 "prefill_attention": 0.55, "link": 0.81},
    "dgx-b200": {"gemm.bf16": 0.70, "gemm.fp8": 0.48, "weight_streaming": 0.75, "decode_attention": 0.79,
                 "prefill_attention": 0.46, "link": 0.70},
    "8x-l40s": {"gemm.bf16": 0.64, "gemm.fp8": 0.50, "weight_streaming": 0.82, "decode_attention": 0.75,
                "prefill_attention": 0.48, "link": 0.60},
}  # fmt: skip
NO_HOST = {"step_overhead": 0.0, "sequence_overhead": 0.0, "layer_overhead": 0.0}  # what kernel sums do not see
NO_COSTS = {"kernel_launch": 0.0, "gemm_half_tokens": 0.0, "all_reduce_alpha": 0.0, "step_overhead": 0.0}


def with_values(runtime: Runtime, efficiency: Efficiency, values: Values) -> Runtime:
    """The runtime with `efficiency`, changed by `values`, on every accelerator."""
    given = dict(values)
    gemm: dict[Any, float] = dict(efficiency.gemm)
    for name, twin in (("bf16", "fp16"), ("fp8", "int8")):
        if f"gemm.{name}" in given:
            gemm[name] = gemm[twin] = given.pop(f"gemm.{name}")
    fields = {field.alias or name: name for name, field in Efficiency.model_fields.items()}
    update: dict[str, Any] = {fields[name]: value for name, value in given.items()}
    if "layer_overhead" in given:
        update["prefill_layer_overhead_s"] = given["layer_overhead"]
    defaults = efficiency.model_copy(update=update | {"gemm": gemm})
    return runtime.model_copy(update={"defaults": defaults, "architectures": {}, "accelerators": {}})


def predict(catalog: Catalog, runtime: Runtime, steps: Sequence[Step]) -> Floats:
    """Model's time of each step [s]."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, s in enumerate(steps):
        groups[s.model, s.machine, s.tensor_parallel, s.precision].append(i)
    found = np.empty(len(steps))
    for (model, machine_name, tp, precision), where in groups.items():
        machine = catalog.machine(machine_name)
        layout = Layout(tensor_parallel=tp, precision=precision, kv_precision="bf16")
        roofline = RooflineLatency(catalog.llm(model), machine, catalog.accelerator_of(machine), runtime, layout)
        batch = np.array([steps[i].batch for i in where], dtype=float)
        tokens = np.array([steps[i].tokens for i in where], dtype=float)
        prefill = np.array([steps[i].phase == "prefill" for i in where])
        found[where] = np.where(
            prefill,
            roofline.step_time_s(prefill_batch(tokens, batch)),
            roofline.step_time_s(decode_batch(batch, tokens)),
        )
    return found


def fit(
    errors: Callable[[dict[tuple[str | None, str], float]], Floats],
    keys: Sequence[tuple[str | None, str]],
    priors: Mapping[tuple[str | None, str], float],
) -> dict[tuple[str | None, str], float]:
    """Values of `keys` (machine or None for all, parameter) that make the logarithmic `errors` least."""
    low, high, start = (np.log([BOUNDS[name][i] for _, name in keys]) for i in range(3))
    start = np.array([np.log(priors[k]) if k in priors else x for k, x in zip(keys, start, strict=True)])

    def residuals(x: Floats) -> Floats:
        values = dict(zip(keys, np.exp(x), strict=True))
        pull = [np.log(values[k] / priors[k]) * LOSS_SCALE / PRIOR_SIGMA for k in keys if k in priors]
        return np.concatenate([errors(values), np.array(pull)])

    # Without priors the optimum is flat in some directions: start from several points and keep the best.
    factors = (1.0,) if priors else (0.5, 0.75, 1.0, 1.5, 2.0)
    solutions = [
        least_squares(
            residuals,
            np.clip(start + np.log(f), low + 1e-6, high - 1e-6),
            bounds=(low, high),
            loss="soft_l1",
            f_scale=LOSS_SCALE,
        )
        for f in factors
    ]
    solution = min(solutions, key=lambda found: found.cost)
    return {k: float(v) for k, v in zip(keys, np.exp(solution.x), strict=True)}


def splitwise_runtime(catalog: Catalog, values: Values) -> Runtime:
    """`splitwise-2023` with fitted values; attention as efficient as the products and the streaming beside it."""
    runtime = catalog.runtime("splitwise-2023")
    tied = {"prefill_attention": values["gemm.bf16"], "decode_attention": values["weight_streaming"]}
    return with_values(runtime, runtime.defaults, NO_COSTS | tied | dict(values))


def fit_splitwise(catalog: Catalog, steps: Sequence[Step]) -> Values:
    """The eight parameters of `splitwise-2023` from the steps of one GPU."""
    measured = np.log([s.time_s for s in steps])

    def errors(values: dict[tuple[str | None, str], float]) -> Floats:
        runtime = splitwise_runtime(catalog, {name: v for (_, name), v in values.items()})
        return np.log(predict(catalog, runtime, steps)) - measured

    return {name: v for (_, name), v in fit(errors, [(None, n) for n in SPLITWISE], {}).items()}


def vllm_runtime(catalog: Catalog, machine: str, values: Values) -> Runtime:
    """`vllm-2026` without host overheads on one machine, with the kernels' medians and then `values`."""
    runtime = catalog.runtime("vllm-2026")
    efficiency = runtime.efficiency(catalog.accelerator_of(catalog.machine(machine)))
    return with_values(runtime, efficiency, NO_HOST | dict(KERNEL_MEDIANS[machine]) | dict(values))


def fit_vllm(catalog: Catalog, steps: Sequence[Step], own: bool = True) -> dict[str, Values]:
    """Parameters of `vllm-2026` by machine; `own` False leaves each GPU's efficiencies at its kernels' medians."""
    machines = sorted({s.machine for s in steps})
    keys: list[tuple[str | None, str]] = [(None, name) for name in SHARED]
    if own:
        keys += [(m, name) for m in machines for name in OWN if name in KERNEL_MEDIANS[m]]
    parts = {m: [s for s in steps if s.machine == m] for m in machines}

    def values_of(values: dict[tuple[str | None, str], float], machine: str) -> dict[str, float]:
        return {name: v for (m, name), v in values.items() if m in (None, machine)}

    def errors(values: dict[tuple[str | None, str], float]) -> Floats:
        found = []
        for m, part in parts.items():
            times = predict(catalog, vllm_runtime(catalog, m, values_of(values, m)), part)
            found.append(np.log(times / np.array([s.time_s for s in part])))
        return np.concatenate(found)

    values = fit(errors, keys, {(m, name): KERNEL_MEDIANS[m][name] for m, name in keys if m is not None})
    return {m: values_of(values, m) for m in KERNEL_MEDIANS}


def _text(name: str, value: float) -> str | float | int:
    if name in ("layer_overhead", "prefill_layer_overhead", "prefill_layer_floor", "sequence_overhead"):
        return f"{value * 1e6:.0f} us"
    if name in ("kernel_launch", "all_reduce_alpha", "all_reduce_hop", "direct_all_reduce_alpha"):
        return f"{value * 1e6:.1f} us"
    return round(value) if name == "gemm_half_tokens" else float(f"{value:.3f}")


def _put(block: Any, values: Values) -> None:
    for name, value in values.items():
        if name.startswith("gemm."):
            twins = {"gemm.bf16": ("bf16", "fp16"), "gemm.fp8": ("fp8", "int8")}[name]
            for precision in twins:
                if precision in block["gemm"]:
                    block["gemm"][precision] = _text(name, value)
        else:
            block[name] = _text(name, value)


def _rewrite(name: str, blocks: Mapping[tuple[str, ...], Values]) -> None:
    """Put values into a runtime's file, which keeps its comments and order; whole or not at all."""
    path = RUNTIMES / f"{name}.yaml"
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 118, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    data = yaml.load(path)
    for keys, values in blocks.items():
        block = data
        for key in keys:
            block = block[key]
        _put(block, values)
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        yaml.dump(data, file)
    os.replace(temporary, path)


def main() -> None:
    """Fit both runtimes, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--write", action="store_true", help="put the values into hardware_catalog/runtimes/")
    write = parser.parse_args().write
    catalog = Catalog.default()

    blocks: dict[tuple[str, ...], Values] = {}
    for machine, architecture, accelerator in (
        ("dgx-h100", None, "h100-sxm"), ("dgx-a100", "ampere", "a100-sxm-80gb")
    ):  # fmt: skip
        values = fit_splitwise(catalog, [s for s in splitwise_steps() if s.machine == machine])
        print("splitwise-2023", machine, {k: _text(k, v) for k, v in values.items()})
        tied = {"prefill_layer_overhead": values["layer_overhead"], "prefill_attention": values["gemm.bf16"],
                "decode_attention": values["weight_streaming"]}  # fmt: skip
        for keys in (("accelerators", accelerator), ("architectures", architecture) if architecture else ("defaults",)):
            blocks[keys] = dict(values) | tied
    if write:
        _rewrite("splitwise-2023", blocks)

    fitted = fit_vllm(catalog, kernel_steps())
    shared = {name: fitted["dgx-h100"][name] for name in SHARED}
    print("vllm-2026 shared", {k: _text(k, v) for k, v in shared.items()})
    blocks = {("defaults",): shared}
    for machine, architecture in (
        ("dgx-a100", "ampere"), ("dgx-h100", "hopper"), ("dgx-h200", None), ("dgx-b200", "blackwell"),
        ("8x-l40s", "ada"),
    ):  # fmt: skip
        own = {name: v for name, v in fitted[machine].items() if name in OWN}
        print("vllm-2026", machine, {k: _text(k, v) for k, v in own.items()})
        blocks["accelerators", catalog.machine(machine).accelerator] = own
        if architecture:
            # A sibling has its own board, so it keeps the default link.
            blocks["architectures", architecture] = {k: v for k, v in own.items() if k != "link"}
    if write:
        _rewrite("vllm-2026", blocks)


if __name__ == "__main__":
    main()
