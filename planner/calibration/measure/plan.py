"""Which kernels to time for a model: the shapes that its layers have on one rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.catalog.schema import LatentAttention, Llm

# Tokens in a step: from a decode batch, where reading the weights is all, to a full prefill step.
GEMM_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
STREAMING_TOKENS = (1, 8, 32)
PREFILL_TOKENS = (512, 1024, 2048, 4096, 8192)
DECODE_BATCHES = ((1, 8192), (8, 4096), (32, 2048), (64, 4096))  # sequences, context of each
MESSAGES_BYTES = tuple(2**n for n in range(14, 28, 2))  # 16 KiB (one token) to 64 MiB (a prefill step)


@dataclass(frozen=True)
class Kernel:
    """One kernel to time; kinds and sizes as `planner calibrate` reads them.

    Attributes
    ----------
    kind : str
        gemm, weight-streaming, prefill-attention, decode-attention, launch or all-reduce.
    precision : str
        Of the weights of a product; bf16 elsewhere.
    shape : tuple of (name, size)
    """

    kind: str
    precision: str
    shape: tuple[tuple[str, int], ...]

    def size(self, name: str) -> int:
        """One of its sizes."""
        return dict(self.shape)[name]


def kernels_for(llm: Llm, tensor_parallel: int, precisions: tuple[str, ...], n_gpus: int = 1) -> list[Kernel]:
    """Kernels to time for `llm` divided over `tensor_parallel` ranks, the most telling first.

    Parameters
    ----------
    llm : Llm
    tensor_parallel : int
        Ranks that share each layer; one of them is timed.
    precisions : tuple of str
        Of the weights.
    n_gpus : int
        GPUs at hand; with two or more, all-reduces over 2, 4, ... of them are timed too.

    Notes
    -----
    Each pass over the list covers every kind, so that one cut short by its budget still has some of each.
    """
    shapes = matrix_shapes(llm, tensor_parallel)
    widest = max(shapes, key=lambda nk: nk[0] * nk[1])
    gemms = [_product("gemm", p, m, nk) for p in precisions for nk in shapes for m in GEMM_TOKENS]
    streams = [_product("weight-streaming", p, m, widest) for p in precisions for m in STREAMING_TOKENS]
    heads, kv_heads, width = attention_shape(llm, tensor_parallel)
    sizes = (("heads", heads), ("kv_heads", kv_heads), ("head_dim", width))
    prefill = [Kernel("prefill-attention", "bf16", (("batch", 1), ("tokens", t), *sizes)) for t in PREFILL_TOKENS]
    decode = []
    if not isinstance(llm.attention, LatentAttention):
        decode = [Kernel("decode-attention", "bf16", (("batch", n), ("context", c), *sizes)) for n, c in DECODE_BATCHES]
    launch = [Kernel("launch", "bf16", ())]
    ranks = [2**i for i in range(1, n_gpus.bit_length()) if 2**i <= n_gpus]
    reduces = [Kernel("all-reduce", "bf16", (("ranks", r), ("bytes", b))) for r in ranks for b in MESSAGES_BYTES]
    return [*launch, *_interleaved(_interleaved_gemms(gemms), streams, prefill, decode), *reduces]


def matrix_shapes(llm: Llm, tensor_parallel: int) -> list[tuple[int, int]]:
    """Distinct (output, input) widths of the weight matrices of a layer on one rank [elements]."""
    hidden, attention = llm.hidden_size, llm.attention
    found: list[tuple[int, int]] = []
    if llm.mlp is not None:
        inner = llm.mlp.intermediate_size // tensor_parallel
        found += [((2 if llm.mlp.gated else 1) * inner, hidden), (hidden, inner)]
    if llm.experts is not None:
        inner = max(llm.experts.intermediate_size // tensor_parallel, 1)
        found += [(2 * inner, hidden), (hidden, inner)]
    heads, kv_heads, width = attention_shape(llm, tensor_parallel)
    if not isinstance(attention, LatentAttention):
        found.append(((heads + 2 * kv_heads) * width, hidden))
    found.append((hidden, heads * width))
    return list(dict.fromkeys(found))


def attention_shape(llm: Llm, tensor_parallel: int) -> tuple[int, int, int]:
    """Query heads, KV heads and head width on one rank; latent attention expanded, as prefill computes it."""
    attention = llm.attention
    heads = max(attention.n_heads // tensor_parallel, 1)
    if isinstance(attention, LatentAttention):
        return heads, heads, attention.v_head_dim
    return heads, max(math.ceil(attention.n_kv_heads / tensor_parallel), 1), attention.head_dim


def _product(kind: str, precision: str, m: int, nk: tuple[int, int]) -> Kernel:
    return Kernel(kind, precision, (("m", m), ("n", nk[0]), ("k", nk[1])))


def _interleaved_gemms(gemms: list[Kernel]) -> list[Kernel]:
    """Every token count of the first shape in turn with the others, largest first: those say most of the peak."""
    return sorted(gemms, key=lambda kernel: -kernel.size("m"))


def _interleaved(*groups: list[Kernel]) -> list[Kernel]:
    """One of each group in turn."""
    longest = max(map(len, groups))
    return [group[i] for i in range(longest) for group in groups if i < len(group)]
