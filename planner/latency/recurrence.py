"""Layers with a constant state in place of a cache: linear attention, state-space layers, short convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.layers import AnyMixer, LinearAttention, Mamba, ShortConvolution
from planner.catalog.llm import Llm
from planner.latency.layout import Layout
from planner.latency.sequences import layer_state_bytes

DELTA_CHUNK_TOKENS = 64  # of the chunked form of gated delta rules in flash-linear-attention
IO_BYTES = 2.0  # inputs and outputs of a scan are in 16 bits
PROMPT_PASSES = 2.0  # inputs are read by the convolution and by the scan


@dataclass(frozen=True)
class Scan:
    """One recurrence in all its layers, on one rank.

    Attributes
    ----------
    n_layers : int
    flop_per_prompt_token, bytes_per_prompt_token : float
        Of the scan over prompts in chunks [FLOP], [bytes].
    flop_per_update, bytes_per_update : float
        Of one decoding sequence's step: its state is read and written [FLOP], [bytes].
    chunks_per_token : float
        Chunks of a prompt that are scanned one after another, whatever runs beside [1/token].
    n_prompt_kernels, n_update_kernels : int
    """

    n_layers: int
    flop_per_prompt_token: float
    bytes_per_prompt_token: float
    flop_per_update: float
    bytes_per_update: float
    chunks_per_token: float
    n_prompt_kernels: int
    n_update_kernels: int


def scans_of(llm: Llm, layout: Layout) -> list[Scan]:
    """Every recurrence of the model, empty for one of attention alone."""
    recurrent = [m for m in llm.mixers if isinstance(m, LinearAttention | Mamba | ShortConvolution)]
    return [scan_of(m, llm.hidden_size, layout.tensor_parallel, llm.layers_of(m)) for m in recurrent]


def scan_of(mixer: AnyMixer, hidden_size: int, tensor_parallel: int, n_layers: int = 1) -> Scan:
    """One kind of recurrence, its heads divided over the ranks.

    Notes
    -----
    For each head of keys d_k and values d_v, with chunks of C tokens: a token's products with the state (read-out,
    update and, for delta rules, its correction) take 2 d_k d_v FLOP each, and those within its chunk 2 C (d_k + d_v),
    twice for delta rules, whose correction is solved within the chunk [1]_, [2]_. A chunk's state is written and read
    once. An update reads and writes the state. The chunks of one prompt follow each other, each with its fixed time.

    References
    ----------
    .. [1] Yang et al., Gated Delta Networks, arXiv 2412.06464, section 3.3.
    .. [2] Dao and Gu, Mamba-2, arXiv 2405.21060, section 6.
    """
    state = layer_state_bytes(mixer, hidden_size) / tensor_parallel
    if isinstance(mixer, LinearAttention):
        heads, keys, values = mixer.n_heads, mixer.key_head_dim, mixer.value_head_dim
        chunk, delta = DELTA_CHUNK_TOKENS, mixer.type != "lightning"
        width = 2 * mixer.n_key_heads * keys + 2 * heads * values
    elif isinstance(mixer, Mamba):
        heads, keys, values = mixer.n_heads, mixer.state_size, mixer.head_dim
        chunk, delta = mixer.chunk_tokens if mixer.type == "mamba2" else 1, False
        width = 2 * mixer.inner_size + 2 * mixer.n_groups * mixer.state_size
    else:
        width = 3 * hidden_size
        io = PROMPT_PASSES * width * IO_BYTES / tensor_parallel
        return Scan(n_layers, 0.0, io, 0.0, 2 * state + io, 0.0, 1, 1)
    elements = heads * keys * values / tensor_parallel
    products = 3 if delta else 2
    within = 2.0 * chunk * (keys + values) * heads / tensor_parallel
    flop = 2.0 * products * elements + (2 if delta else 1) * within
    io = PROMPT_PASSES * width * IO_BYTES / tensor_parallel
    per_token = io + 2 * elements / chunk * mixer.state_bytes_per_element
    kernels = (6, 2) if delta else (5, 2)
    return Scan(n_layers, flop, per_token, 2.0 * products * elements, 2 * state + io, 1.0 / chunk, *kernels)
