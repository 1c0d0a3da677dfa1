"""Hold the latency model against every measurement at hand; print the error tables and write docs/accuracy.md.

python benchmarks/accuracy.py                 # writes docs/accuracy.md; needs scipy for the refits
python benchmarks/accuracy.py --no-refit      # only what the shipped values give, printed, nothing written
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import table_iv
from closed_loop import closed_loop_times_s
from measurements import Run, Step, kernel_steps, serving_runs, splitwise_steps
from numpy.typing import NDArray

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency, Runtime
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.memory import memory_fit
from planner.latency.power import accelerator_power_w
from planner.latency.roofline import RooflineLatency

Floats = NDArray[np.float64]
Row = tuple[str, ...]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "accuracy.md"
HEAD: Row = ("n", "MAPE", "median", "bias", "worst", "worst row")


def without_host(runtime: Runtime) -> Runtime:
    """The runtime without host overhead a step and a sequence, which sums of kernels do not contain."""
    none = {"step_overhead_s": 0.0, "sequence_overhead_s": 0.0}

    def strip(patch: object) -> object:
        given = {k: v for k, v in none.items() if getattr(patch, k) is not None}
        return patch.model_copy(update=given)  # type: ignore[attr-defined]

    return runtime.model_copy(
        update={
            "defaults": runtime.defaults.model_copy(update=none),
            "architectures": {k: strip(v) for k, v in runtime.architectures.items()},
            "accelerators": {k: strip(v) for k, v in runtime.accelerators.items()},
            "machines": {k: strip(v) for k, v in runtime.machines.items()},
        }
    )


def roofline_of(catalog: Catalog, runtime: Runtime, about: Step | Run) -> RooflineLatency:
    """Step times for a measurement's model, machine, tensor degree and precision; KV cache in 16 bits."""
    machine = catalog.machine(about.machine)
    layout = Layout(tensor_parallel=about.tensor_parallel, precision=about.precision, kv_precision="bf16")
    return RooflineLatency(catalog.llm(about.model), machine, catalog.accelerator_of(machine), runtime, layout)


def step_errors(catalog: Catalog, runtime: Runtime, steps: Sequence[Step]) -> Floats:
    """Relative error of the model's time of each step."""
    found = []
    for s in steps:
        batch = prefill_batch(s.tokens, s.batch) if s.phase == "prefill" else decode_batch(s.batch, s.tokens)
        found.append(float(roofline_of(catalog, runtime, s).step_time_s(batch)) / s.time_s - 1.0)
    return np.array(found)


def serving_errors(catalog: Catalog, runtime: Runtime, runs: Sequence[Run]) -> tuple[Floats, Floats]:
    """Relative errors of time between tokens and of time to the first token."""
    tpot, ttft = [], []
    for run in runs:
        machine = catalog.machine(run.machine)
        step = roofline_of(catalog, runtime, run)
        fit = memory_fit(step.llm, catalog.accelerator_of(machine), runtime, step.layout)
        first_s, between_s = closed_loop_times_s(
            step, run.concurrency, run.input_tokens, run.output_tokens, fit.resident_tokens
        )
        tpot.append(between_s / run.tpot_s - 1.0)
        ttft.append(first_s / run.ttft_s - 1.0)
    return np.array(tpot), np.array(ttft)


def mape(errors: Iterable[float]) -> float:
    """Mean absolute relative error."""
    return float(np.abs(np.array(list(errors))).mean())


def _summary(errors: Floats, names: Sequence[str]) -> Row:
    worst = int(np.abs(errors).argmax())
    size = np.abs(errors)
    return (f"{len(errors)}", f"{size.mean():.1%}", f"{np.median(size):.1%}", f"{errors.mean():+.1%}",
            f"{errors[worst]:+.0%}", names[worst])  # fmt: skip


def _name(s: Step) -> str:
    what = "tokens" if s.phase == "prefill" else "context"
    return f"{s.model} TP{s.tensor_parallel} {s.precision} {s.batch:.0f} x {s.tokens:.0f} {what}"


def _by(steps: Sequence[Step], errors: Floats, fields: Sequence[str]) -> list[Row]:
    """One row for each combination of `fields`."""
    keys = [tuple(str(getattr(s, f)) for f in fields) for s in steps]
    rows = []
    for key in sorted(set(keys)):
        at = [i for i, k in enumerate(keys) if k == key]
        rows.append((*key, *_summary(errors[at], [_name(steps[i]) for i in at])))
    return rows


def table(head: Row, rows: Sequence[Row]) -> str:
    """A table in Markdown, columns aligned so that it reads in a terminal too."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]

    def line(cells: Row) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(line, rows)])


def splitwise_section(catalog: Catalog, refit: bool) -> str:
    """Errors of `splitwise-2023` on the profile it was fitted to, and across models and degrees."""
    steps = splitwise_steps()
    errors = step_errors(catalog, catalog.runtime("splitwise-2023"), steps)
    parts = [
        "## Splitwise profile, `splitwise-2023`, fitted\n",
        "Llama2-70B and BLOOM-176B, fp16, medians of repeated rows, eight parameters a GPU. Left out: tensor degree "
        "2 with batch 64 (KV overflow) and the power-capped H100 (synthetic).\n",
        table(("machine", "phase", *HEAD), _by(steps, errors, ("machine", "phase"))),
        "",
        table(
            ("machine", "model", "TP", "phase", *HEAD),
            _by(steps, errors, ("machine", "model", "tensor_parallel", "phase")),
        ),
    ]
    if refit:
        parts += ["\nThe same eight parameters, fitted without the rows they are then held against:\n"]
        parts.append(table(("left out", "machine", "phase", *HEAD), _splitwise_left_out(catalog, steps)))
    return "\n".join(parts)


def _splitwise_left_out(catalog: Catalog, steps: Sequence[Step]) -> list[Row]:
    from fit_runtimes import fit_splitwise, predict, splitwise_runtime

    cases = [(name, lambda s, name=name: s.model == name) for name in ("bloom-176b", "llama-2-70b")]  # type: ignore[misc]
    cases += [(f"TP{tp}", lambda s, tp=tp: s.tensor_parallel == tp) for tp in (2, 4, 8)]  # type: ignore[misc]
    rows: list[Row] = []
    for label, is_out in cases:
        for machine in ("dgx-a100", "dgx-h100"):
            of_machine = [s for s in steps if s.machine == machine]
            out = [s for s in of_machine if is_out(s)]
            values = fit_splitwise(catalog, [s for s in of_machine if not is_out(s)])
            times = predict(catalog, splitwise_runtime(catalog, values), out)
            errors = times / np.array([s.time_s for s in out]) - 1.0
            rows += [(label, *row) for row in _by(out, errors, ("machine", "phase"))]
    return rows


def kernel_section(catalog: Catalog, refit: bool) -> str:
    """Errors of `vllm-2026` on steps summed from kernels."""
    steps, vllm = kernel_steps(), kernel_steps(backend="vllm")
    runtime = without_host(catalog.runtime("vllm-2026"))
    errors = step_errors(catalog, runtime, steps)
    parts = [
        "## Steps summed from measured kernels, `vllm-2026`, fitted\n",
        "Llama-3.1-8B on five GPUs, medians over the versions of vLLM and TensorRT-LLM profiled. Such sums contain no "
        "host: the runtime's overheads a step and a sequence are set to zero for this comparison.\n",
        table(("phase", *HEAD), _by(steps, errors, ("phase",))),
        "\nvLLM's kernels only:\n",
        table(("phase", *HEAD), _by(vllm, step_errors(catalog, runtime, vllm), ("phase",))),
        "",
        table(("machine", "precision", "phase", *HEAD), _by(steps, errors, ("machine", "precision", "phase"))),
        "",
        table(("TP", "phase", *HEAD), _by(steps, errors, ("tensor_parallel", "phase"))),
    ]
    if refit:
        parts.append(
            "\nFitted without the rows held against. A GPU left out keeps the medians of its kernels and takes the "
            "five shared parameters of the others. Those medians come from the same tables that the steps are summed "
            "from, so this shows what a GPU with measured kernels can expect, not an unseen one. A tensor degree left "
            "out is left out on all GPUs.\n"
        )
        parts.append(table(("left out", "phase", *HEAD), _kernels_left_out(catalog, steps)))
    return "\n".join(parts)


def _kernels_left_out(catalog: Catalog, steps: Sequence[Step]) -> list[Row]:
    from fit_runtimes import KERNEL_MEDIANS, OWN, SHARED, fit_vllm, predict, vllm_runtime

    rows: list[Row] = []
    for machine in KERNEL_MEDIANS:
        out = [s for s in steps if s.machine == machine]
        others = fit_vllm(catalog, [s for s in steps if s.machine != machine])
        shared = {name: next(iter(others.values()))[name] for name in SHARED}
        times = predict(catalog, vllm_runtime(catalog, machine, shared), out)
        rows += [(machine, *r) for r in _by(out, times / np.array([s.time_s for s in out]) - 1.0, ("phase",))]
    for tp in (1, 2, 4, 8):
        out = [s for s in steps if s.tensor_parallel == tp]
        fitted = fit_vllm(catalog, [s for s in steps if s.tensor_parallel != tp])
        times = np.empty(len(out))
        for machine, values in fitted.items():
            at = [i for i, s in enumerate(out) if s.machine == machine]
            kept = {k: v for k, v in values.items() if k in SHARED or k in OWN}
            times[at] = predict(catalog, vllm_runtime(catalog, machine, kept), [out[i] for i in at])
        rows += [(f"TP{tp}", *r) for r in _by(out, times / np.array([s.time_s for s in out]) - 1.0, ("phase",))]
    return rows


def serving_section(catalog: Catalog) -> str:
    """Zero-shot errors of time between tokens in closed loops."""
    runs = [r for r in serving_runs() if r.backend in ("vllm", "trtllm")]
    tpot, ttft = serving_errors(catalog, catalog.runtime("vllm-2026"), runs)
    names = [f"{r.input_tokens} + {r.output_tokens} tokens, {r.concurrency} clients" for r in runs]
    rows: list[Row] = []
    keys = [(r.backend, r.model, r.precision, f"TP{r.tensor_parallel}") for r in runs]
    for key in [("all", "", "", ""), ("vllm", "", "", ""), ("trtllm", "", "", ""), *sorted(set(keys))]:
        at = [i for i, k in enumerate(keys) if key[0] == "all" or k == key or (not key[1] and k[0] == key[0])]
        rows.append((*key, *_summary(tpot[at], [names[i] for i in at]), f"{mape(ttft[at]):.0%}"))
    head = ("server", "model", "precision", "TP", *HEAD, "TTFT MAPE")
    return "\n".join(
        [
            "## Served time between tokens, `vllm-2026`, zero-shot\n",
            "H100, a closed loop of clients; the mean-value form is in `benchmarks/closed_loop.py`. No row of these "
            "runs, neither model, and no other run of a server has been fitted. They were looked at while the model "
            "was built: two fits to the kernels (with and without each GPU's own efficiencies) were compared here, "
            "11 % and 13 % off, and the former kept, and a solver that did not converge was found on them. All "
            "rows count, "
            "also those of 4000 + 1000 tokens, which run about twice as fast as their neighbours for reasons the "
            "file does not give. The time to the first token is "
            "shown as well: it is not a step time but a queue's, started by all clients at once, and the "
            "closed form is far too optimistic about it.\n",
            table(head, rows),
        ]
    )


def power_section(catalog: Catalog) -> str:
    """The power model against the A100 columns of the Splitwise profile."""
    import csv

    from measurements import SPLITWISE

    with SPLITWISE.open(newline="", encoding="utf-8") as file:
        measured = [r for r in csv.DictReader(file) if r["hardware"] == "a100-80gb" and r["tensor_parallel"] == "8"]
    runtime, machine = catalog.runtime("splitwise-2023"), catalog.machine("dgx-a100")
    accelerator = catalog.accelerator_of(machine)
    efficiency: Efficiency = runtime.efficiency(accelerator)
    rows: list[Row] = []
    for model, label in (("bloom-176b", "bloom-176b"), ("llama2-70b", "llama-2-70b")):
        step = roofline_of(catalog, runtime, Step("", label, "dgx-a100", 8, "fp16", "", 1, 1, 1.0))
        for n, s in ((1, 512), (1, 1024), (1, 2048), (16, 512), (64, 512)):
            at = [r for r in measured if r["model"] == model and int(r["batch_size"]) == n
                  and int(r["prompt_size"]) == s and r["token_size"] == "128"]  # fmt: skip
            at = [r for r in at if float(r["average_power"]) > 0]  # zero: not recorded
            if not at:
                continue
            peak, mean = (np.median([float(r[c]) for r in at]) for c in ("peak_power", "average_power"))
            shares = []
            for batch in (prefill_batch(s, n), decode_batch(n, s + 64)):
                compute, memory = step.utilisation(batch)
                shares.append(float(accelerator_power_w(compute, memory, 1.0, efficiency)))
            prefill_s, decode_s = (float(step.step_time_s(b)) for b in (prefill_batch(s, n), decode_batch(n, s + 64)))
            whole = (shares[0] * prefill_s + shares[1] * 128 * decode_s) / (prefill_s + 128 * decode_s)
            rows.append((label, f"{n} x {s}", f"{peak:.2f}", f"{shares[0]:.2f}", f"{mean:.2f}", f"{whole:.2f}"))
    return "\n".join(
        [
            "## Power, A100, tensor degree 8\n",
            "Fractions of the GPU's rated power: the peak of a request (its prompt) and its mean over prompt and 128 "
            "tokens, measured and modelled.\n",
            table(("model", "batch x prompt", "peak", "model", "mean", "model"), rows),
        ]
    )


TRUST = """## Where not to trust it

- **Chips with no row here.** AMD, Intel and Google chips, Turing and Volta, and every PCIe card but L40S take values
  of their architecture or the defaults; the stated error is 20-30 % and nothing here has tested it.
- **Models with experts, latent attention or a sliding window.** All measurements are of dense models. The extra terms
  follow from the architecture (distinct experts, latents, windows) but have not been held against a step.
- **All-reduce without NVSwitch.** Over PCIe beyond a pair the ranks are taken to share one link, which on L40S leaves
  prefill up to 18 % too fast on 4 and 8 GPUs and a 128-sequence decode on 8 about 40 % too slow. NVLink bridge pairs
  are untested.
- **FP8 on B200 at batch 1** decodes up to 37 % slower than modelled. The tables have it slower than batch 8, which no
  roofline can follow.
- **Prompts beyond 2048 batched tokens in the 2023 runtime on A100**: 16 prompts of 512 tokens take up to a third longer
  than one of 8192, which no term describes; errors reach 31 %, and 54 % for a tensor degree that was not fitted.
- **Time to the first token under load** is a matter of queues, not of steps; see the closed loops above.
- **Host overheads of `vllm-2026`** (a step, a sequence) are estimates; small models at small batches depend on them.
- **Power** is fitted to A100 alone and other chips use its coefficients. Large prefill batches draw their full rated
  power, of which the model gives 70-80 %, because it takes slow collectives for idle time.
"""


def page(catalog: Catalog, refit: bool = True) -> str:
    """The whole of docs/accuracy.md."""
    sections = [
        "# Accuracy of step times\n\nWritten by `python benchmarks/accuracy.py`; do not edit by hand. MAPE is the mean "
        "absolute relative error and bias the mean relative error of model over measurement. *Zero-shot* rows were "
        "never fitted, *fitted* rows were, *left out* rows were predicted by a fit to the others.\n",
        splitwise_section(catalog, refit),
        kernel_section(catalog, refit),
        serving_section(catalog),
        table_iv.section(catalog),
        power_section(catalog),
        TRUST,
    ]
    return "\n\n".join(s.strip("\n") for s in sections) + "\n"


def main() -> None:
    """Print the page; write it unless told not to refit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--no-refit", action="store_true", help="skip the left-out tables, write nothing")
    refit = not parser.parse_args().no_refit
    text = page(Catalog.default(), refit)
    print(text)
    if refit:
        PAGE.parent.mkdir(exist_ok=True)
        temporary = PAGE.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, PAGE)


if __name__ == "__main__":
    main()
