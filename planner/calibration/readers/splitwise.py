"""The step-time profile of the Splitwise authors (github.com/Mutinifni/splitwise-sim, data/perf_model.csv).

Columns `model, hardware, prompt_size, batch_size, token_size, prompt_time, token_time, tensor_parallel`, times in ms;
one row is a run of `batch_size` prompts of `prompt_size` tokens that each decode `token_size` tokens. It gives a
prefill step and a decode step at the mean context of the run, prompt + token_size / 2.
"""

from __future__ import annotations

from planner.calibration.measurements import Measurements, StepMeasurement
from planner.calibration.readers.tables import TableOfResults, positive

COLUMNS = (
    "model", "hardware", "prompt_size", "batch_size", "token_size", "prompt_time", "token_time", "tensor_parallel"
)  # fmt: skip


def matches(table: TableOfResults) -> bool:
    """Whether the columns are those of this format."""
    return {"prompt_size", "prompt_time", "token_time"} <= set(table.columns)


def read(table: TableOfResults) -> Measurements:
    """Read the rows, without those that are known not to be measurements of a step.

    Raises
    ------
    TraceError
        A missing column, or a value that is no positive number.
    """
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise table.missing(missing)
    steps: list[StepMeasurement] = []
    n_capped = n_overflow = 0
    for line, row in table.rows:
        where = f"{table.path}:{line}"
        setup = table.setup(line, row)
        if (setup.hardware or "").endswith("-pcap"):
            n_capped += 1
            continue
        prompt, n, output = (positive(row[c], c, where) for c in ("prompt_size", "batch_size", "token_size"))
        times = {c: positive(row[c], c, where) * 1e-3 for c in ("prompt_time", "token_time")}
        if setup.tensor_parallel == 2 and n >= 64:
            n_overflow += 1
            continue
        steps.append(StepMeasurement(setup, "prefill", n, prompt, times["prompt_time"], "prompt_time (ms)"))
        context = prompt + output / 2.0
        steps.append(StepMeasurement(setup, "decode", n, context, times["token_time"], "token_time (ms)"))
    notes = []
    if n_capped:
        notes.append(f"{table.path}: {n_capped} rows of power-capped hardware left out: they are scaled, not measured")
    if n_overflow:
        notes.append(f"{table.path}: {n_overflow} rows of batch 64 on 2 GPUs left out: their KV cache overflowed")
    return Measurements(steps=tuple(steps), notes=tuple(notes), files=(table.path,))
