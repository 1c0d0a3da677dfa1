"""Table IV of the Splitwise paper beside the model: one request at a time, Llama2-70B on eight GPUs, P50 of a trace.

python benchmarks/table_iv.py        # the part of docs/accuracy.md that accuracy.py writes
"""

from __future__ import annotations

import numpy as np
from measurements import SPLITWISE
from numpy.typing import NDArray

from planner.catalog.catalog import Catalog
from planner.latency import StepTimes
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.profile import ProfileKey, read_profile
from planner.latency.roofline import RooflineLatency
from planner.workload.library import sizes_of

MACHINES = {"dgx-a100": "a100-80gb", "dgx-h100": "h100-80gb"}  # machine -> its name in the authors' profile
WORKLOADS = {"coding": "azure-code-2023", "conversation": "azure-conv-2023"}
METRICS = ("TTFT", "TBT", "E2E")
# Patel et al., Splitwise, arXiv 2311.18677v2, table IV: P50 of TTFT, TBT and E2E [s]; the cost of a request as printed.
PRINTED_S = {
    ("coding", "dgx-a100"): (0.185, 0.052, 0.856),
    ("coding", "dgx-h100"): (0.095, 0.031, 0.493),
    ("conversation", "dgx-a100"): (0.155, 0.040, 4.957),
    ("conversation", "dgx-h100"): (0.084, 0.028, 3.387),
}
_POINTS = 4096


def roofline(catalog: Catalog, machine: str, runtime: str = "splitwise-2023") -> RooflineLatency:
    """Step times of Llama2-70B, tensor degree 8, in 16 bits."""
    layout = Layout(tensor_parallel=8, precision="fp16", kv_precision="fp16")
    entry = catalog.machine(machine)
    llm = catalog.llm("llama-2-70b")
    return RooflineLatency(llm, entry, catalog.accelerator_of(entry), catalog.runtime(runtime), layout)


def profiles() -> dict[str, StepTimes]:
    """Step times that the authors measured, by machine; none where their profile is not at hand."""
    if not SPLITWISE.is_file():
        return {}
    measured = read_profile(SPLITWISE)
    return {machine: measured[ProfileKey("llama2-70b", name, 8)] for machine, name in MACHINES.items()}


def figures_s(catalog: Catalog, step: StepTimes, trace: str) -> tuple[float, float, float]:
    """P50 of TTFT, mean time between tokens and E2E over the requests of a trace, each of them alone [s]."""
    sizes = sizes_of(catalog.workload(WORKLOADS[trace]), _POINTS)
    steps = sizes.output_tokens - 1.0
    ttft = step.step_time_s(prefill_batch(sizes.prompt_tokens))
    context = sizes.prompt_tokens + 1.0 + steps / 2.0
    tbt = np.broadcast_to(step.step_time_s(decode_batch(np.ones_like(context), context)), ttft.shape)
    return tuple(_median(x, sizes.weight) for x in (ttft, tbt, ttft + steps * tbt))  # type: ignore[return-value]


def _median(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())])


def rows(catalog: Catalog) -> list[tuple[str, ...]]:
    """Rows of the table: trace, machine, metric, printed, model and profile [ms] with their difference from print."""
    measured = profiles()
    found = []
    for (trace, machine), printed in PRINTED_S.items():
        model = figures_s(catalog, roofline(catalog, machine), trace)
        profile = figures_s(catalog, measured[machine], trace) if machine in measured else None
        for i, metric in enumerate(METRICS):
            row = [trace, machine, metric, f"{printed[i] * 1e3:.0f}", *_beside(model[i], printed[i])]
            found.append((*row, *(_beside(profile[i], printed[i]) if profile else ("-", "-"))))
    return found


def _beside(value_s: float, printed_s: float) -> tuple[str, str]:
    return f"{value_s * 1e3:.0f}", f"{value_s / printed_s - 1.0:+.0%}"


HEAD = ("trace", "machine", "P50 of", "paper, ms", "model", "off", "profile", "off")
TEXT = """## Table IV of the Splitwise paper

Llama2-70B alone on eight GPUs, without batching: the paper's P50 over each trace beside the same P50 of *model*
(`splitwise-2023` over the built-in workload) and of *profile* (step times interpolated in the table that the authors
released, the same requests). The E2E of a request is its TTFT and its further tokens at its mean time between tokens.

{table}

Model and profile agree within 6 %, so what separates both from the paper is in the paper, whose table does not follow
from the profile released with it:

- **TBT of coding on A100, 52 ms**: probably a misprint. The profile has 45 ms at any of these contexts, and
  conversation is printed at 40 ms. The printed E2E adds up with it, though (185 + 13 x 52 = 861).
- **TTFT of coding**: the profile needs 214 and 102 ms at the trace's median prompt of about 1,470 tokens.
- **E2E of conversation** is shorter than the table's own TTFT and 129 tokens at its TBT (155 + 129 x 40 = 5,315).
- **Costs** are printed as $0.42 and $0.52 (coding) and $2.4 and $3.6 (conversation) a request. They are cents: E2E
  times the machine's $17.6 and $38 an hour.
- **Energies** are E2E times 5.75 kW (A100) and 10.0 kW (H100), that is, rated power and not a measurement."""


def section(catalog: Catalog) -> str:
    """The section of docs/accuracy.md."""
    from accuracy import table

    return TEXT.format(table=table(HEAD, rows(catalog)))


if __name__ == "__main__":
    print(section(Catalog.default()))
