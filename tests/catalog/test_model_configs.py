"""Configs of 2025 and 2026 against what their makers publish, transformers' own counts, and rows by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog.imports.huggingface import import_hf_config, llm_from_hf_config, llm_to_yaml
from planner.catalog.layers import MultiHeadAttention
from planner.catalog.llm import Llm
from planner.catalog.parameters import n_active_parameters
from planner.latency.layout import Layout
from planner.latency.sequences import (
    Residency,
    kv_bytes_per_token,
    kv_share,
    residency_of,
    sent_bytes_per_token,
    state_bytes,
)
from tests.catalog.test_huggingface import from_yaml

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "model_configs"
ONE = Layout(tensor_parallel=1, precision="bf16", kv_precision="bf16")
needs_configs = pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/data/model_configs is not there")

# Weights of the language model [10^9] as transformers 5.24.0 builds it on the meta device; where it does not know the
# type, as published. Then KV cache of one token [bytes, 16 bits] and state of a sequence [bytes], by hand.
ROWS = [
    # 3 full layers, 57 with an index: 4 heads of 128, keys and values; index keys of 128 in 16 bits
    ("MiniMaxAI--MiniMax-M3", None, 60 * 2 * 4 * 128 * 2 + 57 * 128 * 2, 0.0),
    # every fourth of 64 layers is full; 48 heads of a 128 x 128 state in 32 bits, convolution of 4 over 10,240
    ("Qwen--Qwen3.5-27B", 26.8960, 16 * 2 * 4 * 256 * 2, 48 * (48 * 128 * 128 * 4 + 3 * 10_240 * 2)),
    ("Qwen--Qwen3.5-35B-A3B", 34.6606, 10 * 2 * 2 * 256 * 2, 30 * (32 * 128 * 128 * 4 + 3 * 8_192 * 2)),
    # 9 full layers of 4 KV heads, 39 windows of 8; keys of 192, values of 128
    ("XiaomiMiMo--MiMo-V2-Flash", 308.7788, (9 * 4 + 39 * 8) * (192 + 128) * 2, 0.0),
    # latents of 512 + 64 in 16 bits, index keys of 128 in 8 bits with a 4-byte scale
    ("deepseek-ai--DeepSeek-V3.2", 671.8779, 61 * (576 * 2 + 132), 0.0),
    # windows of 43 layers; entries of 4 tokens in 21 layers with an index, of 128 in 20
    ("deepseek-ai--DeepSeek-V4-Flash", 284.3322, 43 * 1024 + 21 * (1024 + 132) / 4 + 20 * 1024 / 128, 0.0),
    # 25 windows of 8 heads of 256, 5 full layers of 2 heads of 512
    ("google--gemma-4-26B-A4B", 25.2331, (25 * 8 * 256 + 5 * 2 * 512) * 2 * 2, 0.0),
    ("meta-llama--Llama-4-Scout-17B-16E-Instruct", 107.7699, 48 * 2 * 8 * 128 * 2, 0.0),
    # 24 layers of latent attention, 69 of 96 heads of a 128 x 128 state, convolution of 4 over three of 12,288
    ("moonshotai--Kimi-K3", None, 24 * 576 * 2, 69 * (96 * 128 * 128 * 4 + 3 * 36_864 * 2)),
    ("nvidia--Llama-3.1-70B-Instruct-FP8", 70.5537, 80 * 2 * 8 * 128 * 2, 0.0),
    # 31 of 80 layers have no attention (49.87 B published)
    ("nvidia--Llama-3_3-Nemotron-Super-49B-v1", 49.867, 49 * 2 * 8 * 128 * 2, 0.0),
    # 6 layers of attention; 23 of Mamba-2: 64 heads of 64 x 128 in 32 bits, convolution of 4 over 6,144
    ("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 31.5779, 6 * 2 * 2 * 128 * 2, 23 * (4096 * 128 * 4 + 3 * 6144 * 2)),
    (
        "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4",
        31.5779,
        6 * 2 * 2 * 128 * 2,
        23 * (4096 * 128 * 4 + 3 * 6144 * 2),
    ),
    ("nvidia--Qwen3-235B-A22B-NVFP4", 235.0936, 94 * 2 * 4 * 128 * 2, 0.0),
    ("stepfun-ai--Step-3.7-Flash", 195.8438, 45 * 2 * 8 * 128 * 2, 0.0),
    ("zai-org--GLM-5", 743.9112, 78 * (576 * 2 + 132), 0.0),
]
# Weights used by one token [10^9], with the embedding table as their makers count them.
ACTIVE = [
    ("Qwen--Qwen3.5-35B-A3B", 3.0, 0.2),
    ("XiaomiMiMo--MiMo-V2-Flash", 15.0, 0.03),
    ("deepseek-ai--DeepSeek-V3.2", 37.0, 0.04),
    ("deepseek-ai--DeepSeek-V4-Flash", 13.0, 0.06),
    ("google--gemma-4-26B-A4B", 3.8, 0.02),
    ("meta-llama--Llama-4-Scout-17B-16E-Instruct", 17.2, 0.01),
    ("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 3.5, 0.03),
    ("nvidia--Qwen3-235B-A22B-NVFP4", 22.0, 0.01),
    ("stepfun-ai--Step-3.7-Flash", 11.0, 0.02),
    ("zai-org--GLM-5", 40.0, 0.05),
]
# Weights of each class of transformers 5.24.0 with all its defaults, counted on the meta device.
CLASSES = [
    ("afmoe", 19_232_600_000),
    ("apertus", 6_979_596_352),
    ("apertus1p5_text", 8_091_086_912),
    ("arcee", 4_022_766_080),
    ("aria_text", 18_517_069_824),
    ("axk1", 518_983_052_288),
    ("bailing_hybrid", 124_414_191_072),
    ("beam", 501_267_599_808),
    ("bitnet", 2_741_155_840),
    ("cohere", 34_980_831_232),
    ("cohere2", 34_980_831_232),
    ("cohere2_moe", 190_004_928_512),
    ("cwm", 32_581_097_472),
    ("deepseek_v3", 671_026_404_352),
    ("deepseek_v32", 671_877_929_216),
    ("diffllama", 1_204_885_504),
    ("ernie4_5", 360_748_032),
    ("ernie4_5_moe", 21_825_437_888),
    ("exaone", 7_818_448_896),
    ("exaone4", 9_429_069_824),
    ("exaone_moe", 28_550_639_616),
    ("falcon_h1", 8_514_961_408),
    ("flex_olmo", 33_270_665_216),
    ("gemma", 8_537_680_896),
    ("gemma2", 2_614_341_888),
    ("gemma3_text", 2_628_658_432),
    ("gemma3n_text", 6_835_235_568),
    ("gemma4_text", 5_077_177_856),
    ("glm", 9_399_951_360),
    ("glm4", 9_400_279_040),
    ("glm4_moe_lite", 29_943_390_976),
    ("glm_moe_dsa", 743_911_199_232),
    ("gpt_neox", 20_554_567_680),
    ("gpt_neox_japanese", 2_598_837_760),
    ("gpt_oss", 116_829_156_672),
    ("granite", 6_738_415_616),
    ("granite_swa", 2_144_463_840),
    ("granitemoe", 37_039_116_288),
    ("granitemoe_swa", 37_039_117_312),
    ("granitemoeshared", 37_039_116_288),
    ("helium", 2_172_643_840),
    ("hy_v3", 295_033_528_320),
    ("hy_v4", 58_278_193_133),
    ("hyperclovax", 6_738_677_760),
    ("inkling2_text", 593_718_478_848),
    ("inkling_text", 975_340_270_146),
    ("internlm3", 8_804_241_408),
    ("iquestcoder", 39_794_283_520),
    ("jais2", 8_090_401_280),
    ("kolibri1", 78_103_055_360),
    ("laguna", 33_189_975_808),
    ("lfm2", 2_705_497_600),
    ("llama", 6_738_415_616),
    ("llama4_text", 107_769_861_120),
    ("mellum", 12_149_923_072),
    ("mimo_v2_flash", 308_778_768_832),
    ("minicpm3", 4_073_875_968),
    ("minimax", 47_373_946_880),
    ("minimax_m2", 228_689_748_992),
    ("minimax_m3_vl_text", 447_186_441_216),
    ("ministral3", 8_489_553_920),
    ("mistral", 7_241_732_096),
    ("mixtral", 46_702_792_704),
    ("nanochat", 256_573_440),
    ("olmo", 6_888_095_744),
    ("olmo2", 6_888_624_128),
    ("olmo3", 6_888_624_128),
    ("olmo_hybrid", 7_430_870_688),
    ("olmoe", 13_361_612_800),
    ("opt", 125_239_296),
    ("persimmon", 9_397_175_296),
    ("phi", 1_418_270_720),
    ("phi3", 3_821_079_552),
    ("phimoe", 41_872_793_600),
    ("qwen2", 12_049_846_272),
    ("qwen2_moe", 14_315_784_192),
    ("qwen3", 12_049_461_248),
    ("qwen3_5_moe_text", 34_660_610_688),
    ("qwen3_5_text", 8_953_803_264),
    ("qwen3_moe", 15_350_731_776),
    ("qwen3_next", 79_674_391_296),
    ("sarvam_mla", 106_031_763_456),
    ("sarvam_moe", 32_152_648_064),
    ("seed_oss", 28_921_040_896),
    ("smollm3", 3_075_098_624),
    ("solar_open", 102_651_793_408),
    ("stablelm", 2_795_443_200),
    ("starcoder2", 3_030_371_328),
    ("vaultgemma", 2_614_222_080),
    ("youtu", 1_961_560_064),
]


@needs_configs
@pytest.mark.parametrize(("name", "billions", "kv_bytes", "state"), ROWS)
def test_configs_have_their_size_cache_and_state(
    name: str, billions: float | None, kv_bytes: float, state: float
) -> None:
    llm = import_hf_config(FOLDER / name)
    if billions is not None:
        assert llm.n_parameters == pytest.approx(billions * 1e9, rel=5e-4)
    assert kv_bytes_per_token(llm, ONE) == pytest.approx(kv_bytes)
    assert state_bytes(llm) == state
    assert from_yaml(llm_to_yaml(llm), llm.name) == llm


@needs_configs
@pytest.mark.parametrize(("name", "billions", "tolerance"), ACTIVE)
def test_active_parameters_are_near_the_published(name: str, billions: float, tolerance: float) -> None:
    llm = import_hf_config(FOLDER / name)
    with_table = n_active_parameters(llm) + llm.vocabulary_size * llm.hidden_size
    found = (n_active_parameters(llm) / 1e9, with_table / 1e9)
    assert min(abs(n / billions - 1) for n in found) <= tolerance, found


@pytest.mark.parametrize(("model_type", "n_parameters"), CLASSES)
def test_class_defaults_give_the_weights_that_transformers_builds(model_type: str, n_parameters: int) -> None:
    config = {"text_config": {"model_type": model_type, "hidden_act": "silu"}}
    assert llm_from_hf_config(config, name="model").n_parameters == pytest.approx(n_parameters, rel=3e-3)


def hybrid(**changes: object) -> Llm:
    """One full layer of 2 KV heads of 64, and three recurrent ones with 4 heads of 32 x 32."""
    config = {
        "text_config": {
            "model_type": "qwen3_5_text",
            "num_hidden_layers": 4,
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 64,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 4,
            "linear_key_head_dim": 32,
            "linear_value_head_dim": 32,
            "vocab_size": 1000,
            "max_position_embeddings": 4096,
        }
        | changes
    }
    return llm_from_hf_config(config, name="hybrid")


def test_memory_of_a_sequence_is_state_and_bytes_a_token() -> None:
    llm = hybrid()
    state = 3 * (4 * 32 * 32 * 4 + 3 * 3 * 128 * 2)
    assert (state_bytes(llm), kv_bytes_per_token(llm, ONE)) == (state, 2 * 2 * 64 * 2)
    for tokens in (1.0, 10.0, 1000.0):
        share = kv_share(llm, ONE, residency_of(llm, tokens))
        assert share * tokens * 512 == pytest.approx(512 * tokens + state)
    assert kv_share(llm, ONE, Residency()) == 1.0


def test_a_request_takes_its_state_along() -> None:
    llm = hybrid()
    sent = sent_bytes_per_token(llm, ONE, residency_of(llm, 100.0))
    assert 100 * sent == pytest.approx(100 * 512 + state_bytes(llm))


def test_ranks_share_the_state_and_keep_a_head_of_the_cache_each() -> None:
    llm = hybrid()
    spread = ONE.model_copy(update={"tensor_parallel": 4})
    share = kv_share(llm, spread, residency_of(llm, 100.0))
    assert share * 100 * 256 == pytest.approx(256 * 100 + state_bytes(llm) / 4)


def test_shared_caches_keep_nothing() -> None:
    llm = llm_from_hf_config({"text_config": {"model_type": "gemma3n_text"}}, name="model")
    kept = sum(llm.layers_of(m) for m in llm.mixers if isinstance(m, MultiHeadAttention) and m.kv == "own")
    assert (kept, llm.n_layers) == (20, 35)
    assert kv_bytes_per_token(llm, ONE) == 20 * 2 * 2 * 256 * 2
