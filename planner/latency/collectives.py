"""Time of the collectives between the accelerators of one replica."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from planner.catalog.schema import Efficiency, ExchangeCosts, ScaleUp
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


def all_reduce_lines(
    efficiency: Efficiency, n_ranks: int, link_bytes_per_s: float, *, direct: bool
) -> list[tuple[float, float]]:
    """Fixed time [s] and time a byte [s/byte] of the all-reduces of a runtime, each fastest for some size of message.

    Parameters
    ----------
    efficiency : Efficiency
    n_ranks : int
        At least 2.
    link_bytes_per_s : float
        Of each rank, each way, by the datasheet [bytes/s].
    direct : bool
        Whether every rank reaches the memory of every other.

    Returns
    -------
    list of tuple
        The lower envelope, fixed times rising and times a byte falling; the last is that of the largest messages.

    Notes
    -----
    one shot   t = alpha_1 + n rank + (n-1) m/bw_1                                                   (2.3a)
    two shots  t = alpha_2 + n rank + 2(n-1)/n m/bw_2                                                (2.3b)
    ring       (1)

    In one shot every rank reads the whole message of all others; in two it reads its part of each, and then the sums.
    """
    n, rank_s = float(n_ranks), n_ranks * efficiency.direct_rank_s
    two_way = 2.0 * (n - 1.0) / n
    ring_s = efficiency.all_reduce_alpha_s + 2.0 * (n - 1.0) * efficiency.all_reduce_hop_s
    lines = [(ring_s, two_way / (efficiency.link * link_bytes_per_s))]
    if direct and efficiency.direct_all_reduce_alpha_s is not None and efficiency.direct_link is not None:
        two_shot = efficiency.direct_link * link_bytes_per_s
        lines.append((efficiency.direct_all_reduce_alpha_s + rank_s, two_way / two_shot))
    if direct and efficiency.one_shot_alpha_s is not None and efficiency.one_shot_link is not None:
        one_shot = efficiency.one_shot_link * link_bytes_per_s
        lines.append((efficiency.one_shot_alpha_s + rank_s, (n - 1.0) / one_shot))
    return lower_envelope(lines)


def lower_envelope(lines: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lines that are lowest somewhere over sizes >= 0, by rising intercept."""
    found: list[tuple[float, float]] = []
    for intercept, slope in sorted(lines):
        if found and slope >= found[-1][1]:
            continue
        while len(found) > 1 and _crossing(found[-1], (intercept, slope)) <= _crossing(found[-2], found[-1]):
            found.pop()
        found.append((intercept, slope))
    return found


def _crossing(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[0] - first[0]) / (first[1] - second[1])


def exchange_bytes_per_token(
    n_ranks: ArrayLike, n_per_domain: ArrayLike, n_chosen: ArrayLike, token_bytes: ArrayLike, *, once_per_domain: bool
) -> tuple[Floats, Floats]:
    """Bytes that each rank sends for one of its tokens to the ranks of its experts: over the scale-up link, over NICs.

    Parameters
    ----------
    n_ranks, n_per_domain : int or array_like
        Ranks over which experts are spread, and how many of them share a scale-up domain.
    n_chosen : int or array_like
        Experts k that a token goes to, uniform over the ranks.
    token_bytes : float or array_like
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
    n, k, size = (np.asarray(x, dtype=float) for x in (n_ranks, n_chosen, token_bytes))
    d = np.minimum(n, np.asarray(n_per_domain, dtype=float))
    if not once_per_domain:
        return k * (d - 1) / n * size, k * (1 - d / n) * size
    domains = n / d
    over_nics = (domains - 1) * (1 - (1 - 1 / domains) ** k)
    return (n - 1) * (1 - (1 - 1 / n) ** k) * size, over_nics * size


def exchange_time_s(
    tokens: ArrayLike,
    link_bytes: ArrayLike,
    nic_bytes: ArrayLike,
    n_machines: ArrayLike,
    costs: ExchangeCosts,
    link_bytes_per_s: float,
    nic_bytes_per_s: float,
) -> Floats:
    """Time of sending every token to the ranks that hold its experts, or of bringing the results back.

    Parameters
    ----------
    tokens : float or array_like
        Of one rank [tokens].
    link_bytes, nic_bytes : float or array_like
        That a token sends over the scale-up link and over NICs, as `exchange_bytes_per_token` has them [bytes].
    n_machines : float or array_like
        Scale-up domains that the ranks lie in.
    costs : ExchangeCosts
        Of the direction and the form.
    link_bytes_per_s, nic_bytes_per_s : float
        Of a rank, each way: the link by the datasheet, and its share of the machine's NICs [bytes/s].

    Returns
    -------
    ndarray
        Elapsed time [s].

    Raises
    ------
    ValueError
        Several machines, and the costs have no `network`.

    Notes
    -----
    t = alpha + sqrt(M-1) alpha_M + n max( B_link / (e_l link), B_nic / (e_n nic) )                   (2.4)

    Links and NICs work at the same time.
    """
    n, machines, nics = (np.asarray(x, dtype=float) for x in (tokens, n_machines, nic_bytes))
    if costs.network is None and np.any(machines > 1):
        raise ValueError("the exchange was not measured across machines")
    wire_s = n * np.asarray(link_bytes, dtype=float) / (costs.link * link_bytes_per_s)
    if costs.network is not None:
        wire_s = np.maximum(wire_s, n * nics / (costs.network * nic_bytes_per_s))
    return np.asarray(costs.alpha_s + np.sqrt(machines - 1.0) * costs.node_alpha_s + wire_s)


def point_to_point_time_s(message_bytes: ArrayLike, link_bytes_per_s: float, alpha_s: float) -> Floats:
    """Time to hand a tensor to the next pipeline stage: alpha + m / bw [s]."""
    return alpha_s + np.asarray(message_bytes, dtype=float) / link_bytes_per_s
