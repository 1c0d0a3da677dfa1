"""How long a queue remembers: what a simulation must outlast before it can say anything."""

from __future__ import annotations

import numpy as np

from planner.serving.requests import Lane, Traffic

_NEAREST = 0.995  # utilisation beyond which a queue is taken to remember no longer: it would be forever


def relaxation_requests(utilisation: float, arrival_cv2: float, work_cv2: float) -> float:
    """Arrivals after which a queue has forgotten where it began, but for a factor e.

    Parameters
    ----------
    utilisation : float
        rho, rate over the rate that keeps the servers busy all the time; 0.995 in the place of more.
    arrival_cv2, work_cv2 : float
        Squared coefficients of variation of the gaps between arrivals, c_a^2, and of the work of a request, c_s^2.

    Returns
    -------
    float
        Arrivals; the same for any number of servers, because k of them clear k times as much in the time in which k
        times as many requests come.

    Notes
    -----
    2 rho^2 (c_a^2 + c_s^2) / (1 - rho)^2, which is the inverse of the spectral gap of the work in a heavily loaded
    queue, reflected Brownian motion of drift -(1 - rho) and variance rho^2 (c_a^2 + c_s^2) an arrival [1]_.

    References
    ----------
    .. [1] Abate and Whitt, Transient behavior of regulated Brownian motion, Advances in Applied
       Probability 19(3), 1987.
    """
    rho = min(max(utilisation, 0.0), _NEAREST)
    return 2.0 * rho**2 * (arrival_cv2 + work_cv2) / (1.0 - rho) ** 2


def work_cv2(role: str, lane: Lane, traffic: Traffic) -> float:
    """Squared coefficient of variation of what a request asks of a lane, by the role of its pool."""
    prompt_s = np.asarray(lane.prefill_time_s(traffic.prompt_tokens), dtype=float)
    batch = max(min(float(lane.resident_sequences(traffic)), float(lane.max_batch)), 1.0)
    token_s = float(lane.decode_time_s(np.array([batch]), traffic.decode_context_tokens)[0]) / batch
    decode_s = traffic.decode_steps * token_s
    work = {"prefill": prompt_s, "decode": decode_s, "mixed": prompt_s + decode_s}[role]
    mean = float(traffic.weight @ work)
    return float(traffic.weight @ (work - mean) ** 2) / mean**2 if mean > 0 else 0.0
