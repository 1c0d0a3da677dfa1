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
from mean_value import closed_loop_times_s
from measurements import ExpertRun, Run, Step, kernel_steps, moe_runs, serving_runs, splitwise_steps
from numpy.typing import NDArray

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency, Runtime
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.memory import memory_fit
from planner.latency.power import accelerator_power_w
from planner.latency.roofline import RooflineLatency
from planner.latency.scheduled import scheduled

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


def as_kernels(runtime: Runtime) -> Runtime:
    """The runtime as sums of kernels see it: no host, and products quantising their own inputs, as they were timed."""
    alone = without_host(runtime)
    return alone.model_copy(update={"defaults": alone.defaults.model_copy(update={"fused_quantisation": False})})


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
            scheduled(step, runtime.batching), run.concurrency, run.input_tokens, run.output_tokens, fit.resident_tokens
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


def term_section(catalog: Catalog, refit: bool) -> str:
    """Errors of each term on the kernels it was fitted to, with the catalog's values."""
    import fit_kernels

    rows: list[Row] = []
    for term, groups in fit_kernels.TERMS.items():
        for fitted in (True, False):
            every: list[Floats] = []
            for group in groups:
                efficiency = catalog.runtime(f"{group.engine}-2026").efficiency(catalog.accelerator(group.accelerator))
                efficiency = efficiency.model_copy(update={"fused_quantisation": False})
                size = np.abs(group.predict_s(catalog, efficiency) / group.time_s - 1.0)
                if fit_kernels.stands(group) == fitted:
                    every.append(size)
                    name = f"{group.kind}, {group.label}" + ("" if fitted else " (not fitted)")
                    rows.append((term, group.accelerator, group.engine, name,
                                 f"{size.size}", f"{np.median(size):.1%}", f"{size.mean():.1%}"))  # fmt: skip
            if every:
                size = np.concatenate(every)
                label = "all that were fitted" if fitted else "all labels that were not"
                rows.append((term, "all", "all", label, f"{size.size}", f"{np.median(size):.1%}", f"{size.mean():.1%}"))
    rows.sort(key=lambda r: (list(fit_kernels.TERMS).index(r[0]), r[1] != "all"))
    parts = [
        "## Terms on their kernels\n",
        "Absolute errors of single kernels (`../shared/data/kernels/`), with the values in the catalog. Labels "
        "that are "
        "not what stands for a precision of the catalog (`benchmarks/fit_kernels.py`) are scored with its "
        "values all the "
        "same: blocks of 128 x 128 beside per-tensor FP8, weight-only INT8, MXFP4 with wide activations on "
        "Blackwell.\n",
        table(("term", "accelerator", "engine", "kernels", "n", "median", "mean"), rows),
    ]
    if refit:
        parts.append(
            "\nWithout the rows held against: a GPU has the geometric mean of what the same engine reaches on "
            "the other "
            "two (fractions of peaks and seconds alike), an engine that of the other two on the same GPU. "
            "Median absolute "
            "error of what was fitted.\n"
        )
        parts.append(table(("left out", "term", "n", "median"), fit_kernels.left_out(catalog)))
    return "\n".join(parts)


def kernel_section(catalog: Catalog) -> str:
    """Errors of each engine's runtime on steps summed from its kernels."""
    parts = [
        "## Steps summed from measured kernels, by engine\n",
        "Llama-3.1-8B on five GPUs, `vllm-2026` against vLLM's kernels (0.14 on A100, 0.24 elsewhere) and "
        "`trtllm-2026` against TensorRT-LLM's (1.0 and 1.3). Terms are fitted to kernels, not to these steps, "
        "but for one launch of "
        "element-wise kernels (2 us for all) and L40S, which has no kernel tables. Such sums contain no host and no "
        "fusion: overheads a step and a sequence are zero and products quantise their own inputs in this comparison. "
        "H200 has the values of H100.\n",
    ]
    rows: list[Row] = []
    for engine in ("vllm", "trtllm"):
        steps = kernel_steps(backend=engine)
        errors = step_errors(catalog, as_kernels(catalog.runtime(f"{engine}-2026")), steps)
        rows += [(engine, "all", "", *row) for row in _by(steps, errors, ("phase",))]
        rows += [(engine, *row) for row in _by(steps, errors, ("machine", "precision", "phase"))]
        rows += [(engine, f"TP{row[0]}", "", *row[1:]) for row in _by(steps, errors, ("tensor_parallel", "phase"))]
    parts.append(table(("engine", "machine", "precision", "phase", *HEAD), rows))
    return "\n".join(parts)


def serving_section(catalog: Catalog) -> str:
    """Errors of time between tokens in closed loops, by each engine's own runtime."""
    rows: list[Row] = []
    for engine in ("vllm", "trtllm", "sglang"):
        runs = [r for r in serving_runs() if r.backend == engine]
        tpot, ttft = serving_errors(catalog, catalog.runtime(f"{engine}-2026"), runs)
        names = [f"{r.input_tokens} + {r.output_tokens} tokens, {r.concurrency} clients" for r in runs]
        odd = ["odd" if (r.input_tokens, r.output_tokens) == (4000, 1000) else "" for r in runs]
        keys = [(r.model, r.precision, f"TP{r.tensor_parallel}", o) for r, o in zip(runs, odd, strict=True)]
        groups = (
            [("all", "", "", "")] + [("all", "", "", "odd")] * ("odd" in odd) + sorted({k for k in keys if not k[3]})
        )
        for key in groups:
            at = [i for i, k in enumerate(keys) if k[3] == key[3] and (key[0] == "all" or k == key)]
            shown = ("4000 + 1000 tokens" if key[3] else key[0], *key[1:3])
            rows.append((engine, *shown, *_summary(tpot[at], [names[i] for i in at]), f"{mape(ttft[at]):.0%}"))
    head = ("server", "model", "precision", "TP", *HEAD, "TTFT MAPE")
    return "\n".join(
        [
            "## Served time between tokens, dense models, by engine\n",
            "H100, a closed loop of clients; the mean-value form is in `benchmarks/mean_value.py`, in which prompts "
            "come one by one. Neither model's steps were fitted; the host's time a sequence (15 us for all "
            "engines) and "
            "that TensorRT-LLM fuses quantisation were chosen with these runs in sight. Runs of 4000 + 1000 tokens are "
            "about "
            "twice as fast as their neighbours for reasons that the file does not give, and stand apart. The time to "
            "the first token is a queue's: all clients start together, and this closed form is far too optimistic "
            "about it. Clients of SGLang's runs ask for few tokens, so that they go in step and prompts do not "
            "interrupt decoding as much as the form has it.\n",
            table(head, rows),
        ]
    )


def expert_section(catalog: Catalog) -> str:
    """Errors of time between tokens of served mixture-of-experts models."""
    runs = moe_runs()
    errors = np.array([expert_error(catalog, run) for run in runs])
    names = [f"{r.input_tokens} + {r.output_tokens} tokens, {r.concurrency} clients" for r in runs]
    families = ["DeepSeek-V3/R1" if r.model == "deepseek-v3" else r.model for r in runs]
    keys = [(f, r.machine, r.engine, r.degrees, r.multi_token) for f, r in zip(families, runs, strict=True)]
    rows: list[Row] = []
    groups: list[tuple[str, str, str, str, bool]] = [("all", "", "", "", False)]
    groups += [(f, "", "", "", False) for f in sorted(set(families))] + sorted(set(keys))
    for key in groups:
        at = [i for i, k in enumerate(keys) if k == key or (k[4] == key[4] and not key[1] and key[0] in ("all", k[0]))]
        if at:
            label = (*key[:4], "undeclared" if key[4] else "")
            rows.append((*label, *_summary(errors[at], [names[i] for i in at])))
    return "\n".join(
        [
            "## Served time between tokens, mixtures of experts, by engine\n",
            "Distinct measurements with tp x dp = moe_tp x moe_ep of at most 8, each engine's own runtime, the same "
            "closed form. Nothing was fitted to these runs. DeepSeek-R1 on TensorRT-LLM 1.1.0rc2 very likely "
            "used multi-token "
            "prediction and stands apart. Rows of 512 clients are the worst: the form lets every prompt interrupt "
            "every sequence.\n",
            table(("model", "machine", "engine", "degrees", "multi-token", *HEAD), rows),
        ]
    )


def expert_error(catalog: Catalog, run: ExpertRun) -> float:
    """Relative error of the time between tokens of one run."""
    llm, machine = catalog.llm(run.model), catalog.machine(run.machine)
    runtime = catalog.runtime(f"{run.engine}-2026")
    layout = Layout(
        tensor_parallel=run.tensor_parallel,
        attention_data_parallel=run.attention_data_parallel,
        expert_parallel=run.expert_parallel,
        precision=llm.weight_precision,
        kv_precision="bf16",
    )
    accelerator = catalog.accelerator_of(machine)
    step = RooflineLatency(llm, machine, accelerator, runtime, layout)
    # A server that runs has room, whatever its memory settings were: at least the batch of one long request.
    tokens = max(memory_fit(llm, accelerator, runtime, layout).resident_tokens * run.attention_data_parallel, 1e4)
    _, between_s = closed_loop_times_s(step, run.concurrency, run.input_tokens, run.output_tokens, tokens)
    return between_s / run.tpot_s - 1.0


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
- **Expert layers** miss their bar by half a point (15.5 % against 15 %): tables repeat a layer whose weights stay in
  the
  L2 cache, which a server's do not, so streaming is held to the memory's bandwidth.
- **FP8 in blocks of 128 x 128** has kernels of its own, on B200 under vLLM many times slower than per-tensor FP8; dense
  products in `fp8` stand for the latter, expert layers for blocks.
- **Attention of full heads** is one efficiency and one launch a chip and engine: single kernels are 22 % off at the
  median, small batches of long contexts and narrow heads the most. In steps it is a small part.
- **All-reduce without NVSwitch.** Over PCIe beyond a pair the ranks are taken to share one link; NVLink bridge pairs
  are
  untested.
- **FP8 on B200 at batch 1** decodes up to 40 % slower than modelled. The tables have it slower than batch 8, which no
  roofline can follow.
- **SGLang's dense runs** are 25 % too slow in the closed form above, all in step and with short answers; its expert
  runs,
  with longer answers, are within 5 %.
- **Prompts beyond 2048 batched tokens in the 2023 runtime on A100**: 16 prompts of 512 tokens take up to a third longer
  than one of 8192, which no term describes; errors reach 31 %, and 54 % for a tensor degree that was not fitted.
- **Time to the first token under load** is a matter of queues, not of steps; see the closed loops above.
- **Power** is fitted to A100 alone and other chips use its coefficients.
"""


def page(catalog: Catalog, refit: bool = True) -> str:
    """The whole of docs/accuracy.md."""
    sections = [
        "# Accuracy of step times\n\nWritten by `python benchmarks/accuracy.py`; do not edit by hand. MAPE is the mean "
        "absolute relative error and bias the mean relative error of model over measurement. *Zero-shot* rows were "
        "never fitted, *fitted* rows were, *left out* rows were predicted by a fit to the others.\n",
        splitwise_section(catalog, refit),
        term_section(catalog, refit),
        kernel_section(catalog),
        serving_section(catalog),
        expert_section(catalog),
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
