"""Time of the collectives between the accelerators of one replica."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from planner.catalog.schema import ScaleUp
from planner.latency.batch import Floats


def link_bytes_per_s(scale_up: ScaleUp, n_ranks: int) -> float:
    """Bandwidth each way that each of `n_ranks` sees in a collective [bytes/s].

    Bridge pairs reach their bridge with two ranks and fall back to PCIe beyond. On PCIe alone two ranks talk
    directly; more of them cross the host bridge, whose one link they share. A machine without a link between
    accelerators gives 0.

    Notes
    -----
    PCIe, n > 2:  bw / n                                                                             (0)

    Measured all-reduces of L40S behind PCIe 4.0 (aiconfigurator 0.12) move 18 GB/s a rank with two ranks, 3.7
    with four and 1.8 with eight: 15 GB/s in all, whatever their number.
    """
    if scale_up.topology == "none":
        return 0.0
    if scale_up.topology == "bridge_pairs" and n_ranks > 2:
        return scale_up.pcie_bandwidth_bytes_per_s or scale_up.bandwidth_bytes_per_s
    if scale_up.topology == "pcie" and n_ranks > 2:
        return scale_up.bandwidth_bytes_per_s / n_ranks
    return scale_up.bandwidth_bytes_per_s


def all_reduce_time_s(
    message_bytes: ArrayLike, n_ranks: int, link_bytes_per_s: float, alpha_s: float, hop_s: float = 0.0
) -> Floats:
    """Time of one ring all-reduce.

    Parameters
    ----------
    message_bytes : float or array_like
        Size of the reduced tensor on each rank [bytes].
    n_ranks : int
        Ranks in the group; 1 costs nothing.
    link_bytes_per_s : float
        Achieved bandwidth of each rank, each way [bytes/s].
    alpha_s, hop_s : float
        Fixed cost, and cost of each of the 2(n-1) steps of the ring [s].

    Returns
    -------
    ndarray
        Elapsed time [s], same shape as `message_bytes`.

    Notes
    -----
    t = alpha + 2(n-1) hop + 2(n-1)/n * m / bw                                                       (1)

    References
    ----------
    .. [1] Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005, section 4.
    """
    message = np.asarray(message_bytes, dtype=float)
    if n_ranks == 1:
        return np.zeros_like(message)
    steps = 2.0 * (n_ranks - 1)
    return alpha_s + steps * hop_s + steps / n_ranks * message / link_bytes_per_s


def all_to_all_time_s(
    message_bytes: ArrayLike, n_ranks: int, link_bytes_per_s: float, alpha_s: float, hop_s: float = 0.0
) -> Floats:
    """Time of one all-to-all in which each rank holds `message_bytes` and sends (n-1)/n of it away [s].

    Notes
    -----
    t = alpha + (n-1) hop + (n-1)/n * m / bw                                                         (2)
    """
    message = np.asarray(message_bytes, dtype=float)
    if n_ranks == 1:
        return np.zeros_like(message)
    return alpha_s + (n_ranks - 1) * hop_s + (n_ranks - 1) / n_ranks * message / link_bytes_per_s


def exchange_bytes_per_token(
    n_ranks: int, n_per_domain: int, n_chosen: int, token_bytes: float, *, once_per_domain: bool
) -> tuple[float, float]:
    """Bytes that each rank sends for one of its tokens to the ranks of its experts: over the scale-up link, over NICs.

    Parameters
    ----------
    n_ranks, n_per_domain : int
        Ranks over which experts are spread, and how many of them share a scale-up domain.
    n_chosen : int
        Experts k that a token goes to, uniform over the ranks.
    token_bytes : float
        Size of a token's vector [bytes].
    once_per_domain : bool
        High-throughput kernels send a token once to each domain and forward it there; low-latency kernels send a copy
        for each expert.

    Notes
    -----
    With N = n/D domains: copies for each expert, k (1 - D/n) over NICs and k (D - 1)/n over links; once a domain,
    (N - 1)(1 - (1 - 1/N)^k) over NICs and (n - 1)(1 - (1 - 1/n)^k) over links, forwarding included.     (3)

    References
    ----------
    .. [2] DeepSeek-AI, DeepEP, github.com/deepseek-ai/DeepEP, README: normal and low-latency kernels.
    """
    d = min(n_ranks, n_per_domain)
    if not once_per_domain:
        return n_chosen * (d - 1) / n_ranks * token_bytes, n_chosen * (1 - d / n_ranks) * token_bytes
    domains = n_ranks / d
    over_nics = (domains - 1) * (1 - (1 - 1 / domains) ** n_chosen)
    return (n_ranks - 1) * (1 - (1 - 1 / n_ranks) ** n_chosen) * token_bytes, over_nics * token_bytes


def point_to_point_time_s(message_bytes: ArrayLike, link_bytes_per_s: float, alpha_s: float) -> Floats:
    """Time to hand a tensor to the next pipeline stage: alpha + m / bw [s]."""
    return alpha_s + np.asarray(message_bytes, dtype=float) / link_bytes_per_s
