"""The kinds of layer that a language model is built of, as the catalog describes them.

A model's layers mix tokens with each other (attention, or a recurrence with a constant state) and transform each
token by itself (a dense block or experts). Each kind says how many layers have it; which ones does not change any
cost. What a kind keeps of a sequence, a cache that grows or a state that does not, is in `planner.latency.memory`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from planner.catalog.entry import CatalogModel

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Indexer(CatalogModel):
    """A small attention beside the main one that picks the tokens it attends to (DeepSeek-V3.2, MiniMax-M3)."""

    n_heads: Positive = Field(description="Query heads of the index; its keys have one head.")
    head_dim: Positive
    cache_bytes: float = Field(gt=0, description="Index keys kept for one entry of one layer [bytes].")
    weighted: bool = Field(default=True, description="Whether each query head has a learnt weight by token.")


class Mixer(CatalogModel):
    """What every kind of token mixing has."""

    n_layers: Count = Field(default=0, description="Layers of this kind; 0 or left out: all that the others leave.")


class MultiHeadAttention(Mixer):
    """MHA, GQA or MQA: by the number of KV heads; over all tokens, a window, a chunk, or those an index picks."""

    type: Literal["mha", "gqa", "mqa"]
    n_heads: Positive
    n_kv_heads: Positive
    head_dim: Positive
    v_head_dim: Positive | None = Field(default=None, description="Width of a value head, if other than head_dim.")
    q_lora_rank: Positive | None = Field(default=None, description="Rank of the queries' matrix, if not full.")
    window_tokens: Positive | None = Field(default=None, description="Sliding window [tokens].")
    chunk_tokens: Positive | None = Field(default=None, description="Chunk outside which nothing is seen [tokens].")
    top_k_tokens: Positive | None = Field(default=None, description="Most tokens that one query attends to.")
    indexer: Indexer | None = Field(default=None, description="Index of its own; layers may share another's choice.")
    gate_width: Count = Field(default=0, description="Columns of the gate on the output, 0 without.")
    kv: Literal["own", "keys-only", "shared"] = Field(
        default="own",
        description="Keys and values: own projections; keys-only: one projection for both; shared: of another layer.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> MultiHeadAttention:
        kind = "mha" if self.n_kv_heads == self.n_heads else "mqa" if self.n_kv_heads == 1 else "gqa"
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if kind != self.type:
            raise ValueError(f"{self.n_heads} heads with {self.n_kv_heads} KV heads are {kind}, not {self.type}")
        if self.window_tokens and self.chunk_tokens:
            raise ValueError("window_tokens and chunk_tokens exclude each other")
        if self.indexer and not self.top_k_tokens:
            raise ValueError("an indexer needs top_k_tokens")
        return self

    @property
    def value_dim(self) -> int:
        """Width of a value head [elements]."""
        return self.v_head_dim or self.head_dim

    @property
    def span_tokens(self) -> int | None:
        """Most tokens of a sequence that the layer keeps; None: all of them."""
        return self.window_tokens or self.chunk_tokens


class LatentAttention(Mixer):
    """Multi-head latent attention (DeepSeek): the KV cache holds a compressed latent a token."""

    type: Literal["mla"]
    n_heads: Positive
    kv_lora_rank: Positive
    q_lora_rank: Positive | None = None
    qk_nope_head_dim: Positive
    qk_rope_head_dim: Positive
    v_head_dim: Positive
    top_k_tokens: Positive | None = Field(default=None, description="Most tokens that one query attends to.")
    indexer: Indexer | None = Field(default=None, description="Index of its own; layers may share another's choice.")
    gate_width: Count = Field(default=0, description="Columns of the gate on the output, 0 without.")

    @model_validator(mode="after")
    def _consistent(self) -> LatentAttention:
        if self.indexer and not self.top_k_tokens:
            raise ValueError("an indexer needs top_k_tokens")
        return self

    @property
    def value_dim(self) -> int:
        """Width of a value head [elements]."""
        return self.v_head_dim


class CompressedAttention(Mixer):
    """Attention over a window and over entries that each stand for several tokens (DeepSeek-V4).

    Keys are values and have one head. With an index, a query attends to the `top_k_tokens` entries it picks.
    """

    type: Literal["compressed"]
    n_heads: Positive
    head_dim: Positive
    q_lora_rank: Positive
    o_groups: Positive = Field(description="Groups of heads whose outputs are brought down together.")
    o_lora_rank: Positive = Field(description="Width of each group's output.")
    window_tokens: Positive
    compress_ratio: Count = Field(description="Tokens that one entry stands for; 0: the window alone.")
    top_k_tokens: Positive | None = Field(default=None, description="Most entries that one query attends to.")
    indexer: Indexer | None = None

    @model_validator(mode="after")
    def _consistent(self) -> CompressedAttention:
        if (self.indexer or self.top_k_tokens) and not self.compress_ratio:
            raise ValueError("an index over entries needs a compress_ratio")
        if bool(self.indexer) != bool(self.top_k_tokens):
            raise ValueError("indexer and top_k_tokens go together")
        return self

    @property
    def n_kv_heads(self) -> int:
        """One: every query head attends to the same entries."""
        return 1

    @property
    def value_dim(self) -> int:
        """Width of a value head [elements]."""
        return self.head_dim


class LinearAttention(Mixer):
    """Attention as a recurrence: a matrix a head, updated with each token, in place of a cache.

    gated-delta: Qwen3-Next and Qwen3.5; kda: Kimi; lightning: MiniMax-M1 and Ling.
    """

    type: Literal["gated-delta", "kda", "lightning"]
    n_heads: Positive = Field(description="Value heads.")
    n_key_heads: Positive
    key_head_dim: Positive
    value_head_dim: Positive
    conv_kernel: Count = Field(default=0, description="Width of the convolution before it [tokens]; 0 without.")
    gate_rank: Count = Field(default=0, description="Rank of the output gate's matrix; 0: full.")
    decay_rank: Count = Field(default=0, description="Rank of the decay's matrix (kda); 0: full.")
    state_bytes_per_element: float = Field(default=4.0, gt=0)


class Mamba(Mixer):
    """A state-space layer: a constant state a sequence, updated with each token.

    In Mamba-1, head_dim is 1 and each of the n_heads channels has a state and a time step of its own.
    """

    type: Literal["mamba1", "mamba2"]
    n_heads: Positive
    head_dim: Positive
    state_size: Positive
    n_groups: Positive = 1
    conv_kernel: Count
    chunk_tokens: Positive = Field(default=256, description="Chunk of the scan over prompts [tokens].")
    time_step_rank: Count = Field(default=0, description="Rank of the time-step matrix (Mamba-1).")
    state_bytes_per_element: float = Field(default=4.0, gt=0)

    @property
    def inner_size(self) -> int:
        """Channels [elements]."""
        return self.n_heads * self.head_dim


class ShortConvolution(Mixer):
    """A gated convolution over a few tokens in place of attention (LFM2)."""

    type: Literal["short-convolution"]
    conv_kernel: Positive


Attention = MultiHeadAttention | LatentAttention | CompressedAttention
AnyMixer = Annotated[
    MultiHeadAttention | LatentAttention | CompressedAttention | LinearAttention | Mamba | ShortConvolution,
    Field(discriminator="type"),
]


class DenseMlp(CatalogModel):
    """A feed-forward block; gated ones (SwiGLU) have three matrices, plain ones two."""

    intermediate_size: Positive
    gated: bool
    n_layers: Count = Field(default=0, description="Layers with it; 0 or left out: all that experts and others leave.")


class Experts(CatalogModel):
    """A mixture of experts in place of the dense block, in all but `n_dense_layers` layers."""

    n_experts: Positive
    n_experts_per_token: Positive
    intermediate_size: Positive
    gated: bool = Field(default=True, description="Gated experts have three matrices, plain ones two.")
    n_shared_experts: Count = 0
    shared_intermediate_size: Count = Field(
        default=0, description="Width of all blocks that every token passes beside the experts, together."
    )
    latent_size: Count = Field(default=0, description="Width that tokens are brought down to for them; 0: the hidden.")
    n_dense_layers: Count = Field(default=0, description="Layers without experts.")
