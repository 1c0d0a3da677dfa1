"""Step times that are affine in everything, for which tables are exact, and small clusters of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.latency.batch import Batch
from planner.simulation.specification import LaneSpec, Role, Wire
from planner.simulation.steps import StepTable, tabulate


@dataclass(frozen=True)
class AffineSteps:
    """Seconds a step, a prompt token, a query-key pair, a prompt that ends, a decoding sequence, a token of context."""

    base_s: float = 0.02
    token_s: float = 5e-5
    pair_s: float = 0.0
    prompt_s: float = 0.0
    sequence_s: float = 4e-4
    context_s: float = 3e-8

    def step_time_s(self, batch: Batch) -> NDArray[np.float64]:
        prompts = (batch.prompt_tokens, batch.attention_pairs, batch.n_prompts)
        return np.asarray(self.scalar(*prompts, batch.decode_sequences, batch.context_tokens), dtype=float)

    def scalar(self, tokens, pairs, prompts, sequences, context):  # type: ignore[no-untyped-def]
        """Time of one step [s], of floats or arrays."""
        return (
            self.base_s
            + self.token_s * tokens
            + self.pair_s * pairs
            + self.prompt_s * prompts
            + self.sequence_s * sequences
            + self.context_s * context
        )


def lanes_of(
    step: AffineSteps,
    role: Role,
    pool: int,
    first_machine: int,
    n_machines: int,
    *,
    lanes_per_machine: int = 1,
    kv_tokens: float = 1e9,
    max_batch: int = 256,
    token_budget: int = 2048,
    longest_prompt: int = 8192,
    own_nic: bool = False,
    nic_bytes_per_s: float = 2e10,
) -> list[LaneSpec]:
    """Lanes of a pool, whose machines are numbered from `first_machine` on."""
    table = _table(step, max_batch + 1, max(longest_prompt, token_budget) + 1)
    return [
        LaneSpec(
            role, pool, first_machine + m, table, kv_tokens, max_batch, token_budget,
            (first_machine + m) * 100 + n if own_nic else None, nic_bytes_per_s,
        )
        for m in range(n_machines)
        for n in range(lanes_per_machine)
    ]  # fmt: skip


@lru_cache
def _table(step: AffineSteps, max_batch: int, longest: int) -> StepTable:
    return tabulate(step, max_batch, longest, 1000.0)


WIRE = Wire(
    bytes_per_token=1e6, bandwidth_bytes_per_s=2e10, latency_s=1e-5, setup_s=1e-3, synchronisation_s=4e-3,
    overlapped=True, n_layers=32,
)  # fmt: skip
