"""What was measured, whatever tool measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True)
class Setup:
    """What a measurement ran on, as far as its file says.

    Attributes
    ----------
    model, hardware : str or None
        As the file spells them; None where it does not say.
    tensor_parallel, pipeline_parallel, expert_parallel : int or None
    precision, kv_precision : str or None
        Of weights and KV cache; None where the file does not say.
    source : str
        `file:line`, or the file and the place in it.
    """

    model: str | None
    hardware: str | None
    tensor_parallel: int | None
    pipeline_parallel: int | None
    expert_parallel: int | None
    precision: str | None
    kv_precision: str | None
    source: str


@dataclass(frozen=True)
class StepMeasurement:
    """The time of one batch step.

    Attributes
    ----------
    setup : Setup
    phase : str
        `prefill` or `decode`.
    batch : float
        Prompts in the step, or decoding sequences.
    tokens : float
        Tokens of each prompt, or mean context of each sequence [tokens].
    latency_s : float
        Time of the step [s].
    column : str
        Where the latency was read from, with the unit it was taken in.
    """

    setup: Setup
    phase: Phase
    batch: float
    tokens: float
    latency_s: float
    column: str


@dataclass(frozen=True)
class ServingMeasurement:
    """Mean latencies of a server under load.

    Attributes
    ----------
    setup : Setup
    input_tokens, output_tokens : float
        Mean size of a request [tokens].
    concurrency : float or None
        Requests in the server at once, one replica's share: as the tool held it, or by Little's law.
    ttft_s, tpot_s : float or None
        Mean time to first token, and per later token [s].
    saturated : bool
        The run was offered more than the server could take: its TTFT is a queue's, not the server's.
    disaggregated : bool
        Prompts were computed on other machines, so that they do not interrupt decoding.
    column : str
        Where the TPOT was read from, with the unit it was taken in.
    """

    setup: Setup
    input_tokens: float
    output_tokens: float
    concurrency: float | None
    ttft_s: float | None
    tpot_s: float | None
    saturated: bool
    disaggregated: bool
    column: str


@dataclass(frozen=True)
class KernelMeasurement:
    """The time of one kernel.

    Attributes
    ----------
    setup : Setup
        Of it, hardware, precision and source.
    kind : str
        One of `planner.calibration.kernels.SHAPES`.
    shape : mapping
        Its sizes by name, such as m, n, k of a product.
    latency_s : float
        Time of one call [s].
    column : str
        Where the latency was read from, with the unit it was taken in.
    """

    setup: Setup
    kind: str
    shape: Mapping[str, float]
    latency_s: float
    column: str


@dataclass(frozen=True)
class Measurements:
    """Everything that some files hold, and what was left out of it and why.

    Attributes
    ----------
    steps, servings, kernels : tuple
    notes : tuple of str
    files : tuple of str
        The files, as named by the caller.
    """

    steps: tuple[StepMeasurement, ...] = ()
    servings: tuple[ServingMeasurement, ...] = ()
    kernels: tuple[KernelMeasurement, ...] = ()
    notes: tuple[str, ...] = field(default=())
    files: tuple[str, ...] = field(default=())

    def __add__(self, other: Measurements) -> Measurements:
        return Measurements(
            self.steps + other.steps,
            self.servings + other.servings,
            self.kernels + other.kernels,
            self.notes + other.notes,
            self.files + other.files,
        )

    def __len__(self) -> int:
        return len(self.steps) + len(self.servings) + len(self.kernels)
