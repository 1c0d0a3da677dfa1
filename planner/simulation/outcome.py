"""What a simulation leaves: times of every request, and integrals over every pool."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from planner.simulation.arrivals import Requests

_NAN = float("nan")


class Records:
    """Times of every request while a simulation runs: flat arrays, so that ten million take no objects."""

    __slots__ = (
        "finish",
        "first_token",
        "largest_gap",
        "output",
        "preempted",
        "prefill_start",
        "prompt",
        "stage",
        "transfer",
    )  # fmt: skip

    def __init__(self, requests: Requests) -> None:
        n = len(requests)
        self.prompt = array("i", np.ascontiguousarray(requests.prompt_tokens, dtype=np.int32).tobytes())
        self.output = array("i", np.ascontiguousarray(requests.output_tokens, dtype=np.int32).tobytes())
        self.stage = bytearray(n)
        self.first_token = array("d", [_NAN]) * n
        self.finish = array("d", [_NAN]) * n
        self.prefill_start = array("d", [_NAN]) * n
        self.transfer = array("f", [0.0]) * n
        self.largest_gap = array("f", [0.0]) * n
        self.preempted: dict[int, float] = {}  # when the last token was out of a request that is computed again


@dataclass(frozen=True, eq=False)
class Outcome:
    """What happened to every request, in order of arrival.

    Attributes
    ----------
    requests : Requests
    first_token_s, finish_s : ndarray, shape (n,)
        When the first and last token were out; NaN for a request that did not get so far [s].
    prefill_start_s : ndarray, shape (n,)
        When its prompt began to be computed, the last time if a machine failed; NaN if it never did [s].
    transfer_s, largest_gap_s : ndarray, shape (n,)
        Delay between prefill's end and the arrival of the KV cache, and the longest time between two tokens [s].
    pool_busy_s, pool_prompt_s, pool_lanes, pool_batch_s : ndarray, shape (p,)
        Time that lanes of each pool were busy, summed, and with prompts; lanes; and the integral of sequences
        decoding [s]. Up to `horizon_s`.
    pool_kv_token_s, pool_context_token_s : ndarray, shape (p,)
        Integral of the KV tokens reserved, and of the context of the sequences decoding [token s].
    pool_prompt_tokens : ndarray, shape (p,)
        Prompt tokens computed.
    sample_s : ndarray, shape (k,)
        Times from 0 at which the integrals were read while the simulation ran [s]; empty unless it was asked to.
    samples : ndarray, shape (k, p, 6)
        The integrals of each pool at those times, in the order busy, prompts, batch, context, KV memory, prompt tokens.
    n_restarted, n_overflowed, n_waited_for_memory : int
        Requests begun again because a machine failed, sent to the other pool, or held up before decoding for want of
        KV memory.
    too_large : ndarray of int
        Requests that the lanes on their way can never hold; nothing is simulated of them.
    n_arrived : int
        Requests that arrived before the end; all, unless interrupted.
    horizon_s : float
        When the last request reached the lanes, behind the front end if there is one: up to then the pools are
        integrated, and what comes later is running empty.
    end_s : float
        When the simulation ended.
    interrupted : bool
        Whether it was stopped before all requests were done.
    n_preempted : int
        Times that requests gave their KV memory back to others and were computed again.
    latency_s : float
        What requests spend beside lanes and front end before their tokens are out; in none of the times above [s].
    """

    requests: Requests
    first_token_s: np.ndarray
    finish_s: np.ndarray
    prefill_start_s: np.ndarray
    transfer_s: np.ndarray
    largest_gap_s: np.ndarray
    pool_busy_s: np.ndarray
    pool_prompt_s: np.ndarray
    pool_lanes: np.ndarray
    pool_batch_s: np.ndarray
    pool_kv_token_s: np.ndarray
    pool_context_token_s: np.ndarray
    pool_prompt_tokens: np.ndarray
    sample_s: np.ndarray
    samples: np.ndarray
    n_restarted: int
    n_overflowed: int
    n_waited_for_memory: int
    too_large: np.ndarray
    n_arrived: int
    horizon_s: float
    end_s: float
    interrupted: bool
    n_preempted: int = 0
    latency_s: float = 0.0

    @property
    def n_finished(self) -> int:
        """Requests whose last token is out."""
        return int(np.isfinite(self.finish_s).sum())

    @property
    def n_in_flight(self) -> int:
        """Requests that had arrived and were not finished when the simulation was interrupted."""
        arrived = self.finish_s[: self.n_arrived]
        return int(np.isnan(arrived).sum()) - int((self.too_large < self.n_arrived).sum())
