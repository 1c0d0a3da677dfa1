"""Importing config.json: families as they occur in the wild, refusals, and files that cannot be read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from planner.catalog.imports.huggingface import import_hf_config, llm_from_hf_config, llm_to_yaml
from planner.catalog.schema import LatentAttention, Llm, MultiHeadAttention, Provenance
from planner.errors import CatalogError

Config = dict[str, Any]

LLAMA: Config = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
QWEN3_VL: Config = {
    "model_type": "qwen3_vl",
    "text_config": {
        "dtype": "bfloat16",
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "max_position_embeddings": 262144,
        "model_type": "qwen3_vl_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "vocab_size": 151936,
    },
    "tie_word_embeddings": False,
    "vision_config": {"depth": 27, "hidden_size": 1152, "num_heads": 16},
}
QWEN3_MOE: Config = {
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "max_window_layers": 48,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN2_MOE: Config = {
    **QWEN3_MOE,
    "model_type": "qwen2_moe",
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "intermediate_size": 5632,
    "moe_intermediate_size": 1408,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "shared_expert_intermediate_size": 5632,
}
MIXTRAL: Config = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mixtral",
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}
DEEPSEEK: Config = {
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 129280,
}
GPT_OSS: Config = {
    "attention_bias": True,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "experts_per_token": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
    "quantization_config": {
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
        "quant_method": "mxfp4",
    },
    "sliding_window": 128,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}
GPT2: Config = {
    "activation_function": "gelu_new",
    "attn_pdrop": 0.1,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "scale_attn_weights": True,
    "vocab_size": 50257,
}
BLOOM: Config = {
    "attention_softmax_in_fp32": True,
    "masked_softmax_fusion": True,
    "model_type": "bloom",
    "n_embed": 14336,
    "n_layer": 70,
    "num_attention_heads": 112,
    "seq_length": 2048,
    "torch_dtype": "bfloat16",
    "vocab_size": 250880,
}
FALCON_7B: Config = {
    "alibi": False,
    "attention_dropout": 0.0,
    "bias": False,
    "hidden_size": 4544,
    "model_type": "falcon",
    "multi_query": True,
    "new_decoder_architecture": False,
    "num_attention_heads": 71,
    "num_hidden_layers": 32,
    "parallel_attn": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 65024,
}
FALCON_40B: Config = {
    **FALCON_7B,
    "hidden_size": 8192,
    "new_decoder_architecture": True,
    "num_attention_heads": 128,
    "num_hidden_layers": 60,
    "num_kv_heads": 8,
}
OPT: Config = {
    "activation_function": "relu",
    "ffn_dim": 36864,
    "hidden_size": 9216,
    "max_position_embeddings": 2048,
    "model_type": "opt",
    "num_attention_heads": 72,
    "num_hidden_layers": 64,
    "torch_dtype": "float16",
    "vocab_size": 50272,
}
STARCODER: Config = {
    "activation_function": "gelu",
    "attention_softmax_in_fp32": True,
    "model_type": "gpt_bigcode",
    "multi_query": True,
    "n_embd": 6144,
    "n_head": 48,
    "n_inner": 24576,
    "n_layer": 40,
    "n_positions": 8192,
    "torch_dtype": "float32",
    "vocab_size": 49152,
}
GEMMA3: Config = {
    "model_type": "gemma3",
    "text_config": {
        "head_dim": 256,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "torch_dtype": "bfloat16",
}
MISTRAL_01: Config = {
    **{k: v for k, v in LLAMA.items() if k != "rope_scaling"},
    "model_type": "mistral",
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
    "vocab_size": 32000,
}
CHATGLM: Config = {
    "attention_softmax_in_fp32": True,
    "ffn_hidden_size": 13696,
    "hidden_size": 4096,
    "kv_channels": 128,
    "model_type": "chatglm",
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_layers": 40,
    "padded_vocab_size": 151552,
    "seq_length": 131072,
    "torch_dtype": "bfloat16",
}
FAMILIES: dict[str, Config] = {
    "llama": LLAMA,
    "qwen3_vl": QWEN3_VL,
    "qwen3_moe": QWEN3_MOE,
    "qwen2_moe": QWEN2_MOE,
    "mixtral": MIXTRAL,
    "deepseek_v3": DEEPSEEK,
    "gpt_oss": GPT_OSS,
    "gpt2": GPT2,
    "bloom": BLOOM,
    "falcon-7b": FALCON_7B,
    "falcon-40b": FALCON_40B,
    "opt": OPT,
    "gpt_bigcode": STARCODER,
    "gemma3": GEMMA3,
    "mistral": MISTRAL_01,
    "chatglm": CHATGLM,
}


def read(config: Config, **changes: Any) -> Llm:
    return llm_from_hf_config(config | changes, name="model")


def windows(llm: Llm) -> tuple[int | None, int]:
    """Sliding window [tokens] and the number of layers that have it; (None, 0) without one."""
    found = [m for m in llm.mixers if isinstance(m, MultiHeadAttention) and m.window_tokens]
    return (found[0].window_tokens, llm.layers_of(found[0])) if found else (None, 0)


def heads(llm: Llm) -> MultiHeadAttention:
    assert isinstance(llm.attention, MultiHeadAttention)
    return llm.attention


def from_yaml(text: str, name: str) -> Llm:
    values = YAML(typ="safe").load(text)
    return Llm.model_validate({**values, "name": name}, context={"from_file": True})


@pytest.mark.parametrize(
    ("family", "billions"),
    [  # published sizes, language model alone
        ("llama", 8.03),
        ("qwen3_vl", 8.19),
        ("qwen3_moe", 30.5),
        ("qwen2_moe", 14.3),
        ("mixtral", 46.7),
        ("deepseek_v3", 671),
        ("gpt_oss", 116.8),
        ("gpt2", 0.124),
        ("bloom", 176.2),
        ("falcon-7b", 6.92),
        ("falcon-40b", 41.3),
        ("opt", 65.7),
        ("gpt_bigcode", 15.5),
        ("gemma3", 3.88),
        ("mistral", 7.24),
        ("chatglm", 9.40),
    ],
)
def test_families_have_their_published_size(family: str, billions: float) -> None:
    llm = read(FAMILIES[family])
    assert llm.n_parameters == pytest.approx(billions * 1e9, rel=0.011)
    assert llm.provenance_of("n_parameters").kind == "derived"


@pytest.mark.parametrize("family", FAMILIES)
def test_imported_families_survive_being_written_and_read(family: str) -> None:
    llm = read(FAMILIES[family])
    assert from_yaml(llm_to_yaml(llm), llm.name) == llm


def test_llama() -> None:
    llm = read(LLAMA)
    assert llm.attention == MultiHeadAttention(type="gqa", n_heads=32, n_kv_heads=8, head_dim=128)
    assert llm.mlp is not None and llm.mlp.gated and llm.experts is None
    assert (llm.weight_precision, llm.expert_precision, llm.kv_precision) == ("bf16", None, "bf16")
    assert not llm.tied_embeddings and llm.max_context_tokens == 131072


def test_kv_heads_left_out_are_the_heads() -> None:
    config = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    assert heads(read(config)).type == "mha"


def test_nested_text_config_takes_tied_embeddings_from_outside() -> None:
    llm = read(QWEN3_VL)
    assert llm.n_layers == 36 and not llm.tied_embeddings
    assert read(QWEN3_VL, tie_word_embeddings=True).tied_embeddings
    assert llm.notes is not None and "language model alone" in llm.notes


def test_latent_attention_with_dense_layers_and_shared_expert() -> None:
    llm = read(DEEPSEEK)
    assert isinstance(llm.attention, LatentAttention) and llm.attention.q_lora_rank == 1536
    assert llm.experts is not None and llm.mlp is not None
    assert (llm.experts.n_dense_layers, llm.experts.shared_intermediate_size) == (3, 2048)
    assert llm.weight_precision == "fp8" and llm.expert_precision is None
    assert llm.notes is not None and "Multi-token-prediction" in llm.notes
    assert read(DEEPSEEK, q_lora_rank=None).attention.type == "mla"


@pytest.mark.parametrize(
    ("changes", "n_dense"),
    [
        ({}, 0),
        ({"decoder_sparse_step": 2}, 24),
        ({"mlp_only_layers": [0, 47]}, 2),
        ({"first_k_dense_replace": 3}, 3),
        ({"moe_layer_freq": [0] * 5 + [1] * 43}, 5),
        ({"mlp_layer_types": ["dense"] + ["sparse"] * 47}, 1),
    ],
)
def test_which_layers_have_experts(changes: Config, n_dense: int) -> None:
    llm = read(QWEN3_MOE, **changes)
    assert llm.experts is not None and llm.experts.n_dense_layers == n_dense
    assert (llm.mlp is None) == (n_dense == 0)


def test_no_layer_with_experts_is_a_dense_model() -> None:
    llm = read(QWEN3_MOE, mlp_only_layers=list(range(48)))
    assert llm.experts is None and llm.mlp is not None and llm.mlp.intermediate_size == 6144


def test_shared_expert_width_is_read() -> None:
    experts = read(QWEN2_MOE).experts
    assert experts is not None and (experts.n_shared_experts, experts.shared_intermediate_size) == (1, 5632)


def test_plain_feed_forward_and_implied_width() -> None:
    llm = read(BLOOM)
    assert llm.mlp is not None and not llm.mlp.gated and llm.mlp.intermediate_size == 4 * 14336
    assert llm.tied_embeddings
    assert "mlp.intermediate_size" in llm.provenance and "tied_embeddings" in llm.provenance


def test_multi_query() -> None:
    assert heads(read(FALCON_7B)).type == "mqa"
    assert heads(read(FALCON_7B, num_kv_heads=71)).n_kv_heads == 1  # as the class does
    assert heads(read(FALCON_40B)).n_kv_heads == 8
    assert heads(read(STARCODER)).n_kv_heads == 1


def test_class_defaults_of_gemma() -> None:
    llm = read(GEMMA3)
    assert (heads(llm).n_heads, heads(llm).n_kv_heads, llm.vocabulary_size) == (8, 4, 262208)
    assert windows(llm) == (1024, 29)  # every sixth of 34 is full


@pytest.mark.parametrize(
    ("config", "changes", "expected"),
    [
        (GPT_OSS, {}, (128, 18)),
        (GPT_OSS, {"layer_types": None}, (128, 18)),
        (MISTRAL_01, {}, (4096, 32)),
        (MISTRAL_01, {"sliding_window": None}, (None, 0)),
        (MISTRAL_01, {"sliding_window": 32768}, (None, 0)),
        (QWEN3_MOE, {"sliding_window": 4096}, (None, 0)),
        (QWEN3_MOE, {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28}, (4096, 20)),
        (LLAMA, {"sliding_window": 512, "sliding_window_pattern": "LLLG"}, (512, 24)),
        (LLAMA, {"sliding_window": 512, "sliding_window_pattern": 4}, (512, 24)),
    ],
)
def test_sliding_windows(config: Config, changes: Config, expected: tuple[int | None, int]) -> None:
    assert windows(read(config, **changes)) == expected


def compressed(kind: str, bits: int, ignore: list[str]) -> Config:
    weights = {"num_bits": bits, "type": kind, "strategy": "group"}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"]}},
        "ignore": ignore,
    }


@pytest.mark.parametrize(
    ("config", "quantization", "expected"),
    [
        (LLAMA, {"quant_method": "fp8"}, ("fp8", None)),
        (LLAMA, {"quant_method": "gptq", "bits": 4, "group_size": 128}, ("int4", None)),
        (LLAMA, {"quant_method": "gptq", "bits": 8}, ("int8", None)),
        (LLAMA, {"quant_method": "awq", "bits": 4, "version": "gemm"}, ("int4", None)),
        (LLAMA, {"quant_method": "bitsandbytes", "load_in_8bit": True}, ("int8", None)),
        (LLAMA, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, ("int4", None)),
        (LLAMA, compressed("float", 8, ["lm_head"]), ("fp8", None)),
        (LLAMA, {"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("fp4", None)),
        (GPT_OSS, GPT_OSS["quantization_config"], ("bf16", "mxfp4")),
        (DEEPSEEK, compressed("int", 4, ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"]), ("bf16", "int4")),
        (MIXTRAL, compressed("float", 4, [f"model.layers.{i}.self_attn*" for i in range(32)]), ("bf16", "fp4")),
        (MIXTRAL, compressed("float", 4, ["model.layers.0.self_attn*"]), ("fp4", None)),
    ],
)
def test_quantisation(config: Config, quantization: Config, expected: tuple[str, str | None]) -> None:
    llm = read(config, quantization_config=quantization)
    assert (llm.weight_precision, llm.expert_precision) == expected


def test_quantised_cache_and_unknown_dtype() -> None:
    scheme = {**compressed("float", 8, []), "kv_cache_scheme": {"num_bits": 8, "type": "float"}}
    assert read(LLAMA, quantization_config=scheme).kv_precision == "fp8"
    half = read(LLAMA, torch_dtype="float16")
    assert (half.weight_precision, half.kv_precision) == ("fp16", "fp16")
    unknown = read({k: v for k, v in LLAMA.items() if k != "torch_dtype"})
    assert unknown.provenance_of("weight_precision").kind == "estimate"
    assert read(LLAMA, torch_dtype=None, dtype="float32").weight_precision == "fp32"


def test_dense_model_with_unquantised_attention() -> None:
    llm = read(LLAMA, quantization_config=compressed("float", 4, ["re:.*self_attn.*", "lm_head"]))
    assert (llm.weight_precision, llm.mixer_precision, llm.expert_precision) == ("fp4", "bf16", None)
    hybrid = ["re:.*linear_attn.*", *(f"model.layers.{i}.self_attn*" for i in range(3, 32, 4))]
    assert read(LLAMA, quantization_config=compressed("float", 4, hybrid)).mixer_precision == "bf16"


def test_precisions_by_module_and_by_group() -> None:
    by_module = {
        "quant_algo": "MIXED_PRECISION",
        "quantized_layers": {
            "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
            "model.layers.0.mlp.experts.0.down_proj": {"quant_algo": "NVFP4", "group_size": 16},
        },
    }
    llm = read(MIXTRAL, quantization_config=by_module)
    assert (llm.weight_precision, llm.expert_precision) == ("fp8", "fp4")
    groups = {
        "quant_method": "compressed-tensors",
        "config_groups": {
            "group_0": {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 8, "type": "float"}},
            "group_1": {"targets": ["re:.*mlp.experts.*"], "weights": {"num_bits": 4, "type": "float"}},
        },
    }
    llm = read(MIXTRAL, quantization_config=groups)
    assert (llm.weight_precision, llm.expert_precision) == ("fp8", "fp4")


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("org--Model-8B-FP8", "FP8"),
        ("Model-NVFP4", "NVFP4"),
        ("model-awq", "awq"),
        ("Model-w4a16", "w4a16"),
        ("Model-70B-4bit", "4bit"),
        ("Model-8B-Instruct", None),
        ("Qwen3-4B", None),
    ],
)
def test_a_name_that_says_quantised_with_no_such_file_is_warned_of(
    tmp_path: Path, folder: str, told: str | None
) -> None:
    path = tmp_path / folder / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(LLAMA))
    notes = import_hf_config(path).notes or ""
    assert notes.startswith(f"WARNING: the name says {told}") if told else "WARNING" not in notes
    path.write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "fp8"}}))
    assert "WARNING" not in (import_hf_config(path).notes or "")


def test_modelopt_keeps_its_quantisation_in_a_second_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    beside = tmp_path / "hf_quant_config.json"
    beside.write_text(json.dumps({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}))
    llm = import_hf_config(tmp_path)
    assert (llm.weight_precision, llm.kv_precision) == ("fp8", "fp8")
    beside.write_text("{}")
    with pytest.raises(CatalogError, match="quantization is missing"):
        import_hf_config(tmp_path)


@pytest.mark.parametrize(
    ("config", "changes", "field"),
    [
        (LLAMA, {"layer_types": ["linear_attention"] * 24 + ["full_attention"] * 8}, "layer_types"),
        (LLAMA, {"linear_num_value_heads": 48}, "linear_num_value_heads"),
        (LLAMA, {"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*X"}, "hybrid_override_pattern"),
        (DEEPSEEK, {"compress_ratios": [4, 8, 128] * 20 + [4]}, "compress_ratios"),
        (LLAMA, {"mamba_d_state": 16}, "mamba_d_state"),
        (LLAMA, {"model_type": "zamba2"}, "model_type"),
        (LLAMA, {"model_type": "rwkv", "attention_hidden_size": 4096}, "model_type"),
        (LLAMA, {"is_encoder_decoder": True}, "is_encoder_decoder"),
        (LLAMA, {"attention_chunk_size": 8192}, "attention_chunk_size"),
        (LLAMA, {"cross_attention_layers": [3, 8]}, "cross_attention_layers"),
        (LLAMA, {"num_global_key_value_heads": 2}, "num_global_key_value_heads"),
        (LLAMA, {"attention_wormhole_radius": 3}, "attention_wormhole_radius"),
        (LLAMA, {"model_type": "never-seen", "sliding_window": 4096}, "sliding_window"),
        (LLAMA, {"model_type": "never-seen", "hidden_act": "gelu"}, "hidden_act"),
    ],
)
def test_inexpressible_is_refused_by_name(config: Config, changes: Config, field: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read(config, **changes)
    assert caught.value.what.startswith(f"{field}:")
    assert field in str(caught.value.value)
    assert caught.value.where == "config.json"


def test_unseen_model_of_known_form_is_read() -> None:
    assert read(LLAMA, model_type="never-seen").mlp == read(LLAMA).mlp


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"vocab_size": None}, "vocab_size is missing"),
        ({"intermediate_size": None}, "intermediate_size is missing"),
        ({"max_position_embeddings": None}, "max_position_embeddings is missing"),
        ({"num_hidden_layers": "32"}, "num_hidden_layers"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": 31.5}, "num_hidden_layers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**8}, "num_hidden_layers"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": 10**400}, "hidden_size"),
        ({"num_key_value_heads": 7}, "num_key_value_heads"),
        ({"num_key_value_heads": [8] * 31}, "num_key_value_heads"),
        ({"block_configs": [{}], "num_key_value_heads": None}, "block_configs"),
        ({"index_topk": 2048}, "sparse_num_index_heads is missing"),
        ({"num_attention_heads": 31, "num_key_value_heads": 31}, "num_attention_heads"),
        ({"n_layer": 40}, "num_hidden_layers and n_layer disagree"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings"),
        ({"torch_dtype": "float128"}, "torch_dtype"),
        ({"text_config": []}, "text_config"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"quantization_config": "fp8"}, "quantization_config"),
        ({"quantization_config": {"quant_method": "aqlm"}}, "quantization_config"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 3}}, "quantization_config"),
        ({"quantization_config": {"quant_algo": "MIXED_PRECISION"}}, "quantization_config"),
        (
            {"quantization_config": {"quantized_layers": {"layers.0.mlp": "Q"}}},
            "quantization_config",
        ),
    ],
)
def test_wrong_values_are_named(changes: Config, what: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read(LLAMA, **changes)
    assert what in caught.value.what


def test_missing_expert_width_is_not_taken_from_the_dense_layers() -> None:
    with pytest.raises(CatalogError, match="moe_intermediate_size is missing"):
        read(DEEPSEEK, moe_intermediate_size=None)


def test_names_that_cannot_be_files_are_refused() -> None:
    for name in ("", "../llama", "Llama", "a b"):
        with pytest.raises(CatalogError, match="not a name"):
            llm_from_hf_config(LLAMA, name=name)


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"", "config.json", "empty"),
        (b" \n", "config.json", "empty"),
        (b'{\n "a": 1,\n "b": \n}', "config.json:4", "not JSON"),
        (b'{"hidden_size": 40', "config.json:1", "not JSON"),
        (b"\xff\xfe\x00", "config.json", "not a text file"),
        (b"[1, 2]", "config.json", "not a model config"),
        (b"null", "config.json", "not a model config"),
        (b"[" * 100_000, "config.json:1", "nested more than 100 deep"),
        (b"<html>404</html>", "config.json:1", "not JSON"),
        (b"{}", "config.json", "num_hidden_layers is missing"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes, where: str, what: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CatalogError) as caught:
        import_hf_config(path)
    assert what in caught.value.what
    assert caught.value.where is not None and caught.value.where.endswith(where)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot read"):
        import_hf_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("My Model/config.json", "my-model"),
        ("meta-llama--Llama-3.1-8B_config.json", "llama-3.1-8b"),
        (f"models--Qwen--Qwen3-8B/snapshots/{'0a' * 20}/config.json", "qwen3-8b"),
    ],
)
def test_name_from_the_place(tmp_path: Path, place: str, name: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(LLAMA))
    assert import_hf_config(path).name == name
    assert import_hf_config(path, name="chosen").name == "chosen"
    assert str(path) in import_hf_config(path).source


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(family=st.sampled_from(sorted(FAMILIES)), data=st.data())
def test_a_damaged_config_gives_a_model_or_a_catalog_error(family: str, data: st.DataObject) -> None:
    config = copy.deepcopy(FAMILIES[family])
    target = config.get("text_config", config)
    for key in data.draw(st.lists(st.sampled_from(sorted(target)), max_size=3, unique=True)):
        if data.draw(st.booleans()):
            target[key] = data.draw(ANYTHING)
        else:
            del target[key]
    try:
        llm = read(config)
    except CatalogError as error:
        assert error.what and error.where
    else:
        assert from_yaml(llm_to_yaml(llm), llm.name) == llm


@settings(deadline=None)
@given(
    title=st.text(),
    source=st.text(min_size=3),
    notes=st.none() | st.text(),
    n_parameters=st.floats(min_value=1, max_value=1e14),
    paths=st.dictionaries(st.text(min_size=1), st.text(min_size=3), max_size=2),
)
def test_yaml_round_trip_of_any_text(
    title: str, source: str, notes: str | None, n_parameters: float, paths: dict[str, str]
) -> None:
    provenance = {path: Provenance(source=text, kind="estimate") for path, text in paths.items()}
    changes = {"title": title, "source": source, "notes": notes, "n_parameters": n_parameters}
    llm = read(GPT_OSS).model_copy(update={**changes, "provenance": provenance})
    assert from_yaml(llm_to_yaml(llm), llm.name) == llm
