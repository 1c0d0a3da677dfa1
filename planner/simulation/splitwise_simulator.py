"""The conventions of the Splitwise authors' simulator [1]_, to hold this one against its published results.

They are compatibility, not advice: decode time is tabulated over the prompt tokens of the batch but looked up by the
number of sequences, so that it hardly grows with the batch; a step with prompts and sequences takes 1.1 times as long
as prompts of as many tokens; the KV cache ignores grouped-query attention; links are never shared.

References
----------
.. [1] github.com/Mutinifni/splitwise-sim, MIT: performance_model.py, instance.py, scheduler.py, request.py.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from planner.errors import TraceError
from planner.latency.batch import Batch, Floats
from planner.latency.profile import MIXING_FACTOR
from planner.simulation.specification import LaneSpec, Policy, Role, Wire
from planner.simulation.steps import tabulate

MAX_BATCH = 512
TOKEN_BUDGET = 2048
_GPUS = 8
_GPU_BYTES = 85_899_345_920
_LINK_BYTES_PER_S = 200 * 1024.0**3

_NO_END = 1_000_000_000  # prompts always go first, however long sequences have paused

BASELINE_POLICY = Policy(shared_budget=True, max_pauses=_NO_END, contention=False, ties="first")
SPLIT_POLICY = Policy(
    overflow=True, decode_routing="memory", shared_budget=True, max_pauses=_NO_END, long_prompts_wait=True,
    contention=False,
    ties="first",
)  # fmt: skip


class SplitwiseSimulatorSteps:
    """Step times as the authors' simulator looks them up, for one model on one machine at tensor degree 8.

    Parameters
    ----------
    batch_tokens : ndarray, shape (n,)
        Prompt size times batch size of the measurements, increasing [tokens].
    prompt_s, token_s : ndarray, shape (n,)
        Median times of a prompt pass and of a decode step [s].

    Notes
    -----
    Linear between the points, and along the first and last segment beyond them.
    """

    def __init__(self, batch_tokens: Floats, prompt_s: Floats, token_s: Floats) -> None:
        self._tokens, self._prompt_s, self._token_s = batch_tokens, prompt_s, token_s

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s], by the number of tokens in it."""
        tokens = np.asarray(batch.prompt_tokens + batch.decode_sequences, dtype=float)
        prompts = _along(tokens, self._tokens, self._prompt_s)
        with_prompts = np.where(batch.decode_sequences > 0, MIXING_FACTOR * prompts, prompts)
        return np.where(batch.prompt_tokens > 0, with_prompts, _along(tokens, self._tokens, self._token_s))

    def prompt_time_s(self, tokens: Floats) -> Floats:
        """Time of a prompt alone [s]."""
        return _along(np.asarray(tokens, dtype=float), self._tokens, self._prompt_s)

    @property
    def one_token_s(self) -> float:
        """Time of a decode step of one sequence [s]."""
        return float(_along(np.ones(1), self._tokens, self._token_s)[0])


def _along(x: Floats, xs: Floats, ys: Floats) -> Floats:
    i = np.clip(np.searchsorted(xs, x) - 1, 0, xs.size - 2)
    return ys[i] + (x - xs[i]) * (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i])


def read_splitwise_steps(path: str | Path, model: str, hardware: str) -> SplitwiseSimulatorSteps:
    """Read the authors' profile, rows of tensor degree 8.

    Raises
    ------
    TraceError
        The file cannot be read, or holds fewer than two sizes of this model and hardware.
    """
    groups: dict[float, list[tuple[float, float]]] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["model"], row["hardware"], int(row["tensor_parallel"])) == (model, hardware, 8):
                    tokens = float(row["prompt_size"]) * float(row["batch_size"])
                    groups.setdefault(tokens, []).append((float(row["prompt_time"]), float(row["token_time"])))
    except (OSError, KeyError, ValueError) as error:
        raise TraceError("cannot read the step-time profile", where=str(path), value=repr(error)) from None
    if len(groups) < 2:
        raise TraceError(f"no profile of {model} on {hardware}", where=str(path), rule="at least two sizes")
    sizes = np.array(sorted(groups))
    medians = np.array([np.median(np.array(groups[size]), axis=0) for size in sizes]) / 1e3
    return SplitwiseSimulatorSteps(sizes, medians[:, 0], medians[:, 1])


def kv_bytes_per_token(n_layers: int, hidden_size: int) -> float:
    """KV cache of one token in 16 bits as if every head had its own keys and values [bytes]."""
    return 2.0 * 2.0 * n_layers * hidden_size


def splitwise_lanes(
    steps: SplitwiseSimulatorSteps, role: Role, pool: int, first_machine: int, count: int,
    *, weight_bytes: float, bytes_per_token: float, longest_prompt: int,
) -> list[LaneSpec]:  # fmt: skip
    """Lanes of a pool of 8-GPU machines."""
    kv_tokens = (_GPUS * _GPU_BYTES - weight_bytes) / bytes_per_token
    table = tabulate(steps, MAX_BATCH + 1, max(longest_prompt, TOKEN_BUDGET) + 1, 1000.0)
    return [LaneSpec(role, pool, first_machine + m, table, kv_tokens, MAX_BATCH, TOKEN_BUDGET) for m in range(count)]


def splitwise_wire(bytes_per_token: float) -> Wire:
    """The link between any two machines."""
    return Wire(bytes_per_token, _LINK_BYTES_PER_S, 0.0, 0.0, 0.0, False, 1)
