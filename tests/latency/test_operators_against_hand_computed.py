"""FLOP, bytes and parameters of single operators against numbers worked out by hand from published configurations."""

from __future__ import annotations

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Precision
from planner.latency.attention import attending_of
from planner.latency.batch import Batch, decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.rates import compute_precision, expert_compute_precision
from planner.latency.roofline import OperatorCost, RooflineLatency
from planner.latency.sequences import kv_bytes_per_token, kv_bytes_per_token_layer
from planner.latency.weights import rank_weight_bytes

CATALOG = Catalog.default()
VLLM = CATALOG.runtime("vllm-2026")
# No figures of single kinds of layers: products, traffic and launches as they stand in the architecture.
BARE = VLLM.model_copy(update={"accelerators": {}, "architectures": {}})


def costs(model: str, batch: Batch, tp: int = 8, precision: Precision = "bf16", ep: int = 1) -> dict[str, OperatorCost]:
    machine = CATALOG.machine("dgx-h200")
    layout = Layout(tensor_parallel=tp, expert_parallel=ep, precision=precision, kv_precision="bf16")
    step = RooflineLatency(CATALOG.llm(model), machine, CATALOG.accelerator_of(machine), BARE, layout)
    return {c.name: c for c in step.operators(batch)}


def test_llama_70b_decode() -> None:
    """h 8192, 64 heads and 8 KV heads of 128, MLP 28672, 80 layers, vocabulary 128256; 4 ranks, batch 16."""
    found = costs("llama-3.1-70b", decode_batch(16, 1000), tp=4)
    assert found["qkv"].flop == pytest.approx(80 * 2 * 8192 * (16 + 2 * 2) * 128 * 16)
    assert found["out-projection"].flop == pytest.approx(80 * 2 * 16 * 128 * 8192 * 16)
    assert found["mlp"].flop == pytest.approx(80 * 2 * 3 * 8192 * 7168 * 16)
    assert found["lm-head"].flop == pytest.approx(2 * 8192 * 32064 * 16)
    # A KV head is 2 x 128 x 2 bytes; two of them on a rank, 16000 tokens, 80 layers.
    assert found["attention-decode"].bytes == pytest.approx(80 * 16000 * 2 * 512)
    assert found["attention-decode"].flop == pytest.approx(80 * 16000 * 4 * 16 * 128)
    weights = 80 * 3 * 8192 * 7168 * 2
    activations = 80 * 2 * 16 * (8192 + 2 * 7168 + 7168 + 8192)
    assert found["mlp"].bytes == pytest.approx(weights + activations)


def test_llama_70b_prefill_attention() -> None:
    """Two prompts of 3 new tokens after 5 cached: 6 + 7 + 8 = 21 pairs each; only the last tokens reach the head."""
    found = costs("llama-3.1-70b", prefill_batch(3, 2, 5))
    assert found["attention-prefill"].flop == pytest.approx(80 * 42 * 4 * 8 * 128)
    assert found["lm-head"].flop == pytest.approx(2 * 8192 * 128256 / 8 * 2)


def test_bloom_is_mha_with_two_matrices() -> None:
    found = costs("bloom-176b", decode_batch(1, 100))
    assert found["qkv"].flop == pytest.approx(70 * 2 * 14336 * 3 * 14336 / 8)
    assert found["mlp"].flop == pytest.approx(70 * 2 * 2 * 14336 * 57344 / 8)
    assert found["attention-decode"].bytes == pytest.approx(70 * 100 * 2 * 14 * 128 * 2)


def test_kv_bytes_per_token_of_grouped_and_full_attention() -> None:
    one = Layout(tensor_parallel=1, precision="fp16", kv_precision="fp16")
    assert kv_bytes_per_token(CATALOG.llm("llama-2-70b"), one) == 80 * 2 * 8 * 128 * 2 == 327_680
    assert kv_bytes_per_token(CATALOG.llm("bloom-176b"), one) == 70 * 2 * 112 * 128 * 2 == 4_014_080
    assert kv_bytes_per_token(CATALOG.llm("deepseek-v3"), one) == 61 * 576 * 2
    # What crosses the network does not depend on how many ranks hold a copy.
    spread = one.model_copy(update={"tensor_parallel": 8})
    assert kv_bytes_per_token(CATALOG.llm("deepseek-v3"), spread) == 61 * 576 * 2
    # Four KV heads on eight ranks: every rank holds one.
    assert kv_bytes_per_token_layer(CATALOG.llm("qwen3-30b-a3b"), spread) == 2 * 128 * 2


def test_mixtral_reads_the_distinct_experts() -> None:
    """8 experts, 2 a token: one token touches 2, two tokens 8 (1 - 0.75^2) = 3.5, many all 8."""
    expert = 3 * 4096 * 14336
    for tokens, distinct in ((1, 2.0), (2, 3.5), (200, 8.0)):
        found = costs("mixtral-8x7b", decode_batch(tokens, 10), tp=1)["experts"]
        activations = 32 * 2 * 2 * tokens * (6 * 4096 + 6 * 14336)
        assert found.bytes == pytest.approx(32 * expert * 2 * distinct + activations)
        assert found.flop == pytest.approx(32 * 2 * expert * 2 * tokens)


def test_deepseek_prefill_expands_the_latent_and_decode_absorbs_it() -> None:
    """128 heads, q rank 1536, KV rank 512, 128 + 64 query and key, 128 value; whole latents on every rank."""
    latent = 7168 * (1536 + 512 + 64)
    per_head = 1536 * (128 + 64) + 512 * (128 + 128)
    found = costs("deepseek-v3", prefill_batch(10), precision="fp8")
    assert found["qkv"].flop == pytest.approx(61 * 2 * (latent + 16 * per_head) * 10)
    assert found["attention-prefill"].flop == pytest.approx(61 * 55 * 2 * 16 * (128 + 64 + 128))
    found = costs("deepseek-v3", decode_batch(4, 250), precision="fp8")
    assert found["attention-decode"].flop == pytest.approx(61 * 1000 * 2 * 16 * (512 + 64 + 512))
    assert found["attention-decode"].bytes == pytest.approx(61 * 1000 * 576 * 2)
    assert found["mlp"].flop == pytest.approx(3 * 2 * 3 * 7168 * 18432 / 8 * 4)
    assert found["shared-experts"].flop == pytest.approx(58 * 2 * 3 * 7168 * 2048 / 8 * 4)
    assert found["router"].flop == pytest.approx(58 * 2 * 7168 * 256 * 4)
    assert found["experts"].flop == pytest.approx(58 * 2 * 3 * 7168 * 2048 * 8 / 8 * 4)


def test_gpt_oss_window_and_narrow_experts() -> None:
    """18 of 36 layers see 128 tokens; experts of 4.25 bits, 3,072 wide for 2,880, in 16-bit models, 4 of 128."""
    found = costs("gpt-oss-120b", decode_batch(3, 1000), tp=1)
    per_token = 2 * 8 * 64 * 2
    assert found["attention-decode"].bytes == pytest.approx(per_token * (18 * 3000 + 18 * 384))
    distinct = 128 * (1 - (124 / 128) ** 3)
    activations = 36 * 2 * 4 * 3 * (6 * 2880 + 6 * 2880)
    assert found["experts"].bytes == pytest.approx(36 * 3 * 3072 * 2880 * 4.25 / 8 * distinct + activations)
    # 300 tokens: 300 x 301 / 2 pairs, of which the window keeps 300 x 128 - 128 x 127 / 2.
    found = costs("gpt-oss-120b", prefill_batch(300), tp=1)
    assert found["attention-prefill"].flop == pytest.approx(4 * 64 * 64 * 18 * (45_150 + 30_272))


def test_narrow_experts_compute_in_what_the_chip_offers() -> None:
    llm = CATALOG.llm("gpt-oss-120b")
    layout = Layout(tensor_parallel=1, precision="bf16", kv_precision="bf16")
    assert expert_compute_precision(llm, CATALOG.accelerator("h100-sxm"), layout) == "bf16"
    assert expert_compute_precision(llm, CATALOG.accelerator("b200-sxm"), layout) == "fp8"


def test_qwen3_moe_replicates_scarce_kv_heads() -> None:
    """4 KV heads on 8 ranks: each rank has 4 query heads and one KV head of 128, hidden 2048, 48 layers."""
    found = costs("qwen3-30b-a3b", decode_batch(5, 10))
    assert found["qkv"].flop == pytest.approx(48 * 2 * 2048 * (4 + 2) * 128 * 5)


def test_experts_spread_over_a_tensor_parallel_group_are_imbalanced_and_exchange_nothing() -> None:
    shared, spread = (costs("mixtral-8x7b", decode_batch(64, 100), ep=ep) for ep in (1, 8))
    imbalance = VLLM.defaults.expert_imbalance
    assert spread["experts"].flop == pytest.approx(imbalance * shared["experts"].flop)
    assert spread["all-reduce"].time_s == pytest.approx(shared["all-reduce"].time_s)
    assert "expert-exchange" not in spread


@pytest.mark.parametrize("model", [
    "bloom-176b", "llama-2-70b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "qwen3-32b", "mixtral-8x7b",
])  # fmt: skip
def test_one_rank_holds_the_published_parameters(model: str) -> None:
    llm = CATALOG.llm(model)
    layout = Layout(tensor_parallel=1, precision="bf16", kv_precision="bf16")
    assert rank_weight_bytes(llm, layout) == pytest.approx(2 * llm.n_parameters, rel=0.02)


def test_fp16_and_bf16_stand_in_for_each_other() -> None:
    assert compute_precision("bf16", CATALOG.accelerator("rtx-2080-ti")) == "fp16"
    assert compute_precision("fp8", CATALOG.accelerator("a100-sxm-80gb")) in ("bf16", "fp16")
    assert compute_precision("int4", CATALOG.accelerator("h100-sxm")) == "bf16"


def test_operators_sum_to_the_step() -> None:
    machine = CATALOG.machine("dgx-h100")
    for model, ep in (("llama-3.1-70b", 1), ("mixtral-8x7b", 8), ("gpt-oss-120b", 1), ("deepseek-v3", 8)):
        llm = CATALOG.llm(model)
        for runtime in ("vllm-2026", "splitwise-2023"):
            layout = Layout(tensor_parallel=8, expert_parallel=ep, precision=llm.weight_precision, kv_precision="bf16")
            step = RooflineLatency(llm, machine, CATALOG.accelerator_of(machine), CATALOG.runtime(runtime), layout)
            for batch in (prefill_batch([100.0, 5000.0]), decode_batch([1.0, 200.0], 3000)):
                total = sum(c.time_s for c in step.operators(batch))
                np.testing.assert_allclose(total, step.step_time_s(batch), rtol=1e-9)


def test_sparse_latent_attention_reads_the_chosen_tokens_and_indexes_all() -> None:
    """DeepSeek-V3.2, one rank of eight: 16 heads padded to 64 over 2,048 of 10,000 tokens, 64 index heads over all."""
    llm = CATALOG.llm("deepseek-v3.2")
    chosen, every = attending_of(llm, Layout(tensor_parallel=8, precision="fp8", kv_precision="bf16"))
    assert chosen.flop_per_token == chosen.flop_per_pair == 2 * 64 * (2 * 512 + 64)
    assert chosen.bytes_per_token == 576 * 2
    assert chosen.context == {"window_context:2048": 1.0}
    assert every.flop_per_token == 2 * 64 * 128 and every.bytes_per_token == 132
    assert every.context == {"context": 1.0}
