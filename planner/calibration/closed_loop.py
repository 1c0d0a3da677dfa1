"""The mean time per token of a server that holds a number of requests: the mean-value form that fits use.

    TPOT = t_d(B, c) + (B - 1) / (m - 1) (t_mixed(s, B, c) - t_d(B, c))                                  (1)

A decoding sequence shares its steps with B - 1 others of mean context c = s + m / 2. Each of those is replaced by a
new request after m - 1 tokens, so that (B - 1) / (m - 1) prompts of s tokens join a step, and each delays all by what
a mixed step takes longer. With prompts computed elsewhere the second term vanishes.

B follows from Little's law. A request sees the other N - 1 of the N that are held, and those that have their first
token decode:

    B = 1 + (N - 1) (m - 1) TPOT / (TTFT + (m - 1) TPOT)                                                 (2)

With the measured TTFT and TPOT this is what the run itself had, whatever it waited for. A run without TTFT takes the
wait to be one mixed step and half a running one, and iterates. That a request sees the system as if it were not in
it is the arrival theorem of mean value analysis.

References
----------
.. [1] Reiser and Lavenberg, Mean-value analysis of closed multichain queuing networks, JACM 27(2), 1980.
"""

from __future__ import annotations

import numpy as np

from planner.latency import StepTimes
from planner.latency.batch import Floats, decode_batch, mixed_batch

_ROUNDS = 12


def mean_decoding(concurrency: Floats, output_tokens: Floats, ttft_s: Floats, tpot_s: Floats) -> Floats:
    """Mean sequences that decode together, as one of them sees it, (2)."""
    decoding_s = (output_tokens - 1.0) * tpot_s
    return 1.0 + np.maximum(concurrency - 1.0, 0.0) * decoding_s / (ttft_s + decoding_s)


def tpot_at_s(
    step: StepTimes, decoding: Floats, input_tokens: Floats, output_tokens: Floats, disaggregated: Floats
) -> Floats:
    """Mean time per token with a given number of decoding sequences, (1) [s].

    Parameters
    ----------
    step : StepTimes
    decoding, input_tokens, output_tokens : ndarray
        B, s and m; they broadcast.
    disaggregated : ndarray of bool
        Prompts are computed elsewhere.
    """
    context = input_tokens + output_tokens / 2.0
    alone_s = step.step_time_s(decode_batch(decoding, context))
    mixed_s = step.step_time_s(mixed_batch(input_tokens, 1.0, decoding, context))
    prompts = (decoding - 1.0) / np.maximum(output_tokens - 1.0, 1.0)
    return alone_s + np.where(disaggregated, 0.0, prompts * np.maximum(mixed_s - alone_s, 0.0))


def tpot_s(
    step: StepTimes, concurrency: Floats, input_tokens: Floats, output_tokens: Floats, disaggregated: Floats
) -> Floats:
    """Mean time per token of a closed loop of which only the concurrency is known [s]."""
    decoding = np.maximum(np.asarray(concurrency, dtype=float), 1.0)
    found = tpot_at_s(step, decoding, input_tokens, output_tokens, disaggregated)
    for _ in range(_ROUNDS):
        context = input_tokens + output_tokens / 2.0
        wait_s = step.step_time_s(mixed_batch(input_tokens, 1.0, decoding, context)) + found / 2.0
        decoding = mean_decoding(concurrency, output_tokens, wait_s, found)
        found = tpot_at_s(step, decoding, input_tokens, output_tokens, disaggregated)
    return found
