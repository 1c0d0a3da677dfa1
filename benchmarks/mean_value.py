"""Mean time between tokens of a closed loop of clients on one replica, from step times alone.

N clients each send a prompt of s tokens, wait for m output tokens, and send the next. One prompt's computation
interrupts all sequences that decode meanwhile. With X requests a second and B sequences decoding,

    D = (m - 1) t_d(B) + X' D dT(B)        decode time of a request: its own steps, and others' prompts    (1)
    T = T_p + t_d(B) / 2 + X' T_p T        prompt time: its own, the running step, others' prompts         (2)
    X = N / (T + D),  B = X D,  X' = X (N - 1) / N                                                        (3)

with dT the time that a prompt adds to a decode step. (3) is Little's law and (2) the arrival theorem in
Schweitzer's approximation of mean-value analysis. For a given B, (1) and (3) give X in closed form,

    X = B / ((m - 1) t_d(B) + B dT(B) (N - 1) / N)                                                       (4)

and the clients accounted for, B + X T, grow with B: the solution is found by bisection and is the only one. (A
damped iteration of (1) to (3) does not always converge.) When KV memory holds fewer than N requests, the others wait
outside: N is what fits.
"""

from __future__ import annotations

from planner.latency import StepTimes
from planner.latency.batch import decode_batch, mixed_batch, prefill_batch

N_HALVINGS = 45


def closed_loop_times_s(
    step: StepTimes, n_clients: int, prompt_tokens: int, output_tokens: int, resident_tokens: float
) -> tuple[float, float]:
    """Mean time to the first token, and mean time between tokens [s]."""
    s, m = float(prompt_tokens), float(output_tokens)
    n = min(float(n_clients), max(resident_tokens / (s + m / 2.0), 1.0))
    context = s + m / 2.0
    alone_s = float(step.step_time_s(prefill_batch(s)))
    others = (n - 1.0) / n

    def at(batch: float) -> tuple[float, float, float]:
        step_s = float(step.step_time_s(decode_batch(batch, context)))
        added_s = max(float(step.step_time_s(mixed_batch(s, 1.0, batch, context))) - step_s, 0.0)
        rate = batch / ((m - 1.0) * step_s + batch * added_s * others)
        left = 1.0 - others * rate * alone_s
        first_s = (alone_s + 0.5 * step_s * (batch > 1.0)) / left if left > 0 else float("inf")
        return rate, first_s, batch / rate

    low, high = 0.0, n
    for _ in range(N_HALVINGS):
        middle = 0.5 * (low + high)
        rate, first_s, _ = at(middle)
        low, high = (middle, high) if middle + rate * first_s < n else (low, middle)
    _, first_s, decode_s = at(low or high)
    waiting_s = (n_clients / n - 1.0) * (first_s + decode_s)
    return first_s + waiting_s, decode_s / (m - 1.0)
