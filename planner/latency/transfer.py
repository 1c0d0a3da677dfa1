"""Moving a prompt's KV cache from a prefill to a decode machine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from planner.catalog.schema import KvTransferCosts
from planner.latency.batch import Floats

SYNCHRONISATION_EXPONENT = math.log2(8.0 / 5.0)


def kv_transfer_exposed_s(
    prompt_tokens: ArrayLike,
    prefill_time_s: ArrayLike,
    kv_bytes_per_token: float,
    n_layers: int,
    bandwidth_bytes_per_s: float,
    latency_s: float,
    costs: KvTransferCosts,
) -> Floats:
    """Delay that the transfer adds before the second token, beyond the prompt computation.

    Parameters
    ----------
    prompt_tokens, prefill_time_s : float or array_like
        Size of each prompt [tokens] and the time of its computation [s].
    kv_bytes_per_token : float
        KV cache of one token over all layers [bytes].
    n_layers : int
        Layers, each of which can be sent as soon as it is computed.
    bandwidth_bytes_per_s, latency_s : float
        Achieved bandwidth from machine to machine [bytes/s] and latency of the fabric [s].
    costs : KvTransferCosts
        Of the runtime.

    Returns
    -------
    ndarray
        Exposed time [s]: the smaller of

        serialised = setup + latency + bytes / bw                                                   (4.1)
        overlapped = sync + latency + max(bytes / bw - (1 - 1/layers) t_prefill, bytes / (layers bw))  (4.2)

    Notes
    -----
    In (4.2) the last layer can never hide, and the rest hides behind the computation of the layers after it.
    `sync` is the synchronisation a request that Splitwise measured as what remains of an overlapped transfer;
    it shrinks with the bandwidth of the NIC (`synchronisation_scale`).

    References
    ----------
    .. [1] Patel et al., Splitwise, ISCA 2024, section IV-C and figures 11, 14.
    """
    serialised, overlapped = kv_transfer_ways_s(
        prompt_tokens, prefill_time_s, kv_bytes_per_token, n_layers, bandwidth_bytes_per_s, latency_s, costs
    )
    return np.minimum(serialised, overlapped) if costs.overlapped else serialised


def kv_transfer_ways_s(
    prompt_tokens: ArrayLike,
    prefill_time_s: ArrayLike,
    kv_bytes_per_token: float,
    n_layers: int,
    bandwidth_bytes_per_s: float,
    latency_s: float,
    costs: KvTransferCosts,
) -> tuple[Floats, Floats]:
    """What each way of sending leaves exposed: (4.1) serialised and (4.2) overlapped of `kv_transfer_exposed_s` [s]."""
    wire_s = np.asarray(prompt_tokens, dtype=float) * kv_bytes_per_token / bandwidth_bytes_per_s
    hidden_s = (1.0 - 1.0 / n_layers) * np.asarray(prefill_time_s, dtype=float)
    serialised = costs.setup_s + latency_s + wire_s
    overlapped = costs.synchronisation_s + latency_s + np.maximum(wire_s - hidden_s, wire_s / n_layers)
    return serialised, overlapped


def synchronisation_scale(nic_bytes_per_s: float, costs: KvTransferCosts) -> float:
    """Factor on the synchronisation cost for a NIC other than the one it was measured on.

    Notes
    -----
    (ref / nic)^0.678                                                                              (4.3)

    The exponent joins the two points that Splitwise measured: 8 ms at 200 Gbit/s, 5 ms at 400 Gbit/s.
    """
    return float((costs.reference_bandwidth_bytes_per_s / nic_bytes_per_s) ** SYNCHRONISATION_EXPONENT)
