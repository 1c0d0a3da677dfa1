"""Every built-in LLM: loads, has sources, and its architecture gives the published number of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

import planner.catalog
from planner.catalog.imports.llm_yaml import llm_to_yaml
from planner.catalog.parameters import n_active_parameters, n_parameters
from planner.catalog.schema import Llm
from planner.latency.layout import Layout
from planner.latency.sequences import rank_kv_bytes_per_token

FOLDER = Path(planner.catalog.__file__).parent / "builtin" / "models"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
PROMISED = {
    "bloom-176b",
    "llama-2-7b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.1-405b",
    "qwen3-8b",
    "qwen3-32b",
    "qwen3-30b-a3b",
    "qwen3-235b-a22b",
    "mixtral-8x7b",
    "deepseek-v3",
    "gpt-oss-120b",
}


def from_yaml(text: str, name: str) -> Llm:
    values = YAML(typ="safe").load(text)
    values["name"] = name
    return Llm.model_validate(values, context={"from_file": True})


def builtin(name: str) -> Llm:
    return from_yaml((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name)


def bytes_per_token(name: str) -> float:
    layout = Layout(tensor_parallel=1, precision="bf16", kv_precision="bf16")
    return rank_kv_bytes_per_token(builtin(name), layout)


def test_the_promised_models_are_there() -> None:
    assert set(NAMES) >= PROMISED


@pytest.mark.parametrize("name", NAMES)
def test_architecture_gives_the_published_number_of_parameters(name: str) -> None:
    llm = builtin(name)
    assert n_parameters(llm) == pytest.approx(llm.n_parameters, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt-oss-120b", 5.13e9),  # arXiv 2508.10925, table 1
        ("gpt-oss-20b", 3.61e9),
        ("deepseek-v3", 37e9),  # model card
        ("qwen3-235b-a22b", 22e9),  # model card, with embeddings
        ("kimi-k2.5", 32e9),  # model card
        ("mixtral-8x7b", 12.9e9),  # announcement, with embeddings
    ],
)
def test_active_parameters_as_published(name: str, published: float) -> None:
    assert n_active_parameters(builtin(name)) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_provenance_names_existing_fields(name: str) -> None:
    llm = builtin(name)
    assert llm.source.startswith("huggingface.co/") and llm.kind in ("datasheet", "listed")
    for path in llm.provenance:
        assert hasattr(llm, path.split(".")[0]), path
    assert llm.provenance_of("n_parameters").source != llm.source


@pytest.mark.parametrize("name", NAMES)
def test_written_out_and_read_back(name: str) -> None:
    llm = builtin(name)
    assert from_yaml(llm_to_yaml(llm), name) == llm


def test_gpt_oss_is_quantised_in_its_experts_only_and_alternates_windows() -> None:
    llm = builtin("gpt-oss-120b")
    assert (llm.weight_precision, llm.expert_precision) == ("bf16", "mxfp4")
    windowed, full = llm.mixers
    assert windowed == full.model_copy(update={"window_tokens": 128})
    assert llm.layers_of(windowed) == llm.layers_of(full) == llm.n_layers // 2


def test_deepseek_has_latent_attention_and_three_dense_layers() -> None:
    llm = builtin("deepseek-v3")
    assert llm.attention.type == "mla" and llm.weight_precision == "fp8"
    assert llm.experts is not None
    assert (llm.experts.n_dense_layers, llm.experts.n_shared_experts) == (3, 1)


def test_bytes_of_a_sequence_as_published() -> None:
    """MiniMax-M2.5: 248 KiB a token (dev.colaberry.ai); Kimi-K2.5: 61 layers of 512 + 64 elements."""
    assert bytes_per_token("minimax-m2.5") == 248 * 1024
    assert bytes_per_token("kimi-k2.5") == 61 * (512 + 64) * 2
