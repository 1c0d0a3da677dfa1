"""Weight counts: by hand for one small model of each attention, and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import parameters
from planner.catalog.schema import DenseMlp, Experts, LatentAttention, Llm, MultiHeadAttention


def small_llm(**changes: object) -> Llm:
    values: dict[str, object] = {
        "name": "small",
        "title": "Small",
        "source": "made up for this test",
        "kind": "estimate",
        "n_layers": 3,
        "hidden_size": 10,
        "vocabulary_size": 100,
        "tied_embeddings": False,
        "attention": MultiHeadAttention(type="gqa", n_heads=4, n_kv_heads=2, head_dim=5),
        "mlp": DenseMlp(intermediate_size=7, gated=True),
        "weight_precision": "bf16",
        "kv_precision": "bf16",
        "max_context_tokens": 64,
        "n_parameters": 1.0,
    }
    return Llm.model_validate(values | changes)


def test_grouped_query_by_hand() -> None:
    attention = MultiHeadAttention(type="gqa", n_heads=4, n_kv_heads=2, head_dim=5)
    assert parameters.qkv_elements(attention, 10) == 10 * 20 + 2 * (10 * 10)
    assert parameters.output_projection_elements(attention, 10) == 20 * 10


def test_latent_attention_by_hand() -> None:
    attention = LatentAttention(
        type="mla", n_heads=2, kv_lora_rank=6, q_lora_rank=8, qk_nope_head_dim=3, qk_rope_head_dim=1, v_head_dim=5
    )
    q_a, q_b = 10 * 8, 8 * 2 * 4
    kv_a, kv_b = 10 * (6 + 1), 6 * 2 * (3 + 5)
    assert parameters.qkv_elements(attention, 10) == q_a + q_b + kv_a + kv_b
    assert parameters.output_projection_elements(attention, 10) == 2 * 5 * 10
    without_query_latent = attention.model_copy(update={"q_lora_rank": None})
    assert parameters.qkv_elements(without_query_latent, 10) == 10 * 2 * 4 + kv_a + kv_b


def test_dense_model_by_hand() -> None:
    layer = 10 * (4 + 2 * 2) * 5 + 20 * 10 + 3 * 10 * 7 + 2 * 10
    assert parameters.n_parameters(small_llm()) == 3 * layer + 10 + 2 * 100 * 10
    assert parameters.n_parameters(small_llm(tied_embeddings=True)) == 3 * layer + 10 + 100 * 10
    plain = small_llm(mlp=DenseMlp(intermediate_size=7, gated=False))
    assert parameters.n_parameters(small_llm()) - parameters.n_parameters(plain) == 3 * 10 * 7


def test_mixture_of_experts_by_hand() -> None:
    experts = Experts(
        n_experts=6,
        n_experts_per_token=2,
        intermediate_size=4,
        n_shared_experts=2,
        shared_intermediate_size=8,
        n_dense_layers=1,
    )
    llm = small_llm(experts=experts)
    attention = 10 * 8 * 5 + 20 * 10 + 20
    one, shared, router = 3 * 10 * 4, 3 * 10 * 8, 10 * 6
    total = 3 * attention + 3 * 10 * 7 + 2 * (router + shared + 6 * one) + 10 + 2000
    assert parameters.n_parameters(llm) == total
    assert parameters.n_active_parameters(llm) == total - 2 * 4 * one - 1000
    assert parameters.n_dense_layers(llm) == 1


@given(
    n_layers=st.integers(1, 100),
    n_experts=st.integers(1, 64),
    n_dense=st.integers(0, 100),
    data=st.data(),
)
def test_active_never_exceeds_stored(n_layers: int, n_experts: int, n_dense: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n_experts))
    experts = Experts(n_experts=n_experts, n_experts_per_token=k, intermediate_size=4, n_dense_layers=n_dense)
    llm = small_llm(n_layers=n_layers, experts=experts)
    assert parameters.n_active_parameters(llm) <= parameters.n_parameters(llm)
    if k == n_experts:
        lookup_only = parameters.embedding_elements(llm)
        assert parameters.n_active_parameters(llm) + lookup_only == parameters.n_parameters(llm)


@pytest.mark.parametrize("field", ["n_layers", "hidden_size", "vocabulary_size"])
def test_more_of_anything_is_more_weights(field: str) -> None:
    llm = small_llm()
    more = llm.model_copy(update={field: getattr(llm, field) + 1})
    assert parameters.n_parameters(more) > parameters.n_parameters(llm)
