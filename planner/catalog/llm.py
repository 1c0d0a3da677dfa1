"""A language model, as its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from planner.catalog.entry import CatalogModel, Entry
from planner.catalog.layers import AnyMixer, Attention, Count, DenseMlp, Experts, Positive
from planner.catalog.precision import Precision
from planner.catalog.quantities import FractionOrZero, NParameters


def _as_list(value: Any) -> Any:
    """One kind may stand for a list of one."""
    return [value] if isinstance(value, Mapping | CatalogModel) else value


_ONE_OR_MORE_MIXERS = BeforeValidator(_as_list, json_schema_input_type=AnyMixer | list[AnyMixer])
_ONE_OR_MORE_MLPS = BeforeValidator(_as_list, json_schema_input_type=DenseMlp | list[DenseMlp])


class Llm(Entry):
    """One large language model, as its architecture."""

    folder: ClassVar[str] = "models"

    title: str
    n_layers: Positive
    hidden_size: Positive
    vocabulary_size: Positive
    tied_embeddings: bool
    mixers: Annotated[
        tuple[AnyMixer, ...], BeforeValidator(_as_list, json_schema_input_type=AnyMixer | list[AnyMixer])
    ] = Field(
        alias="attention",
        description="Mixers of tokens: one kind for all layers, or a list of kinds with their n_layers.",
    )
    mlps: Annotated[
        tuple[DenseMlp, ...], BeforeValidator(_as_list, json_schema_input_type=DenseMlp | list[DenseMlp])
    ] = Field(
        default=(),
        alias="mlp",
        description="Dense blocks: one kind, or a list with their n_layers; left out where every layer has experts.",
    )
    experts: Experts | None = None
    other_parameters: Count = Field(
        default=0, description="Weights each token is multiplied with that belong to no other field."
    )
    looked_up_parameters: Count = Field(
        default=0, description="Weights read by row, as those of embeddings by layer, beside the token embeddings."
    )
    weight_precision: Precision = Field(description="Precision of the weights as released; --precision changes it.")
    expert_precision: Precision | None = Field(default=None, description="Precision of expert weights, if other.")
    mixer_precision: Precision | None = Field(
        default=None, description="Precision of weights that mix tokens, if other."
    )
    kv_precision: Precision = Field(description="Precision of the KV cache, as usually served.")
    max_context_tokens: Positive
    draft_layers: Count = Field(default=0, description="Layers of the multi-token-prediction head that it ships.")
    draft_acceptance: FractionOrZero | None = Field(
        default=None, description="Probability that a draft token of this head is accepted after those before it were."
    )
    n_parameters: NParameters = Field(
        description="Parameters as published; lint compares them with the architecture's."
    )

    @model_validator(mode="after")
    def _layers_add_up(self) -> Llm:
        if self.experts and self.experts.n_experts_per_token > self.experts.n_experts:
            raise ValueError("n_experts_per_token exceeds n_experts")
        for name, kinds in (("attention", self.mixers), ("mlp", self.mlps)):
            if len(kinds) > 1 and any(not kind.n_layers for kind in kinds):
                raise ValueError(f"{name} is a list: each kind needs n_layers")
        if not self.attentions:
            raise ValueError("attention is missing: no layer keeps a KV cache")
        mixed, n_dense = sum(map(self.layers_of, self.mixers)), self.n_layers - self.n_expert_layers
        # A layer with neither mixing nor experts, or all layers mixed: what is left has a dense block.
        if not self.mlps and n_dense and (mixed >= self.n_layers or mixed < n_dense):
            raise ValueError(f"mlp is missing: {n_dense} layers are dense")
        return self

    @property
    def n_expert_layers(self) -> int:
        """Layers with experts."""
        return max(self.n_layers - self.experts.n_dense_layers, 0) if self.experts else 0

    @property
    def attention(self) -> Attention:
        """The attention of most layers among those that see the whole context, else of most layers."""
        found = self.attentions
        whole = [m for m in found if getattr(m, "span_tokens", None) is None]
        return max(whole or found, key=lambda m: m.n_layers or self.n_layers)

    @property
    def mlp(self) -> DenseMlp | None:
        """The widest dense block, None without one."""
        return max(self.mlps, key=lambda m: m.intermediate_size, default=None)

    @property
    def attentions(self) -> Sequence[Attention]:
        """The kinds of attention that keep a cache, in the order of the file."""
        return [m for m in self.mixers if isinstance(m, Attention)]

    def layers_of(self, kind: AnyMixer | DenseMlp) -> int:
        """Return in how many layers a kind of mixer or dense block is."""
        if kind.n_layers:
            return kind.n_layers
        return self.n_layers - self.n_expert_layers if isinstance(kind, DenseMlp) else self.n_layers

    def divides_heads(self, degree: int) -> bool:
        """Return whether the heads of every layer divide by a tensor-parallel degree."""
        return all(m.n_heads % degree == 0 for m in self.mixers if hasattr(m, "n_heads"))
