"""What an engine does not run is not planned, and the refusal says why and where that is written."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Precision, Unsupported
from planner.errors import CatalogError
from planner.latency.layout import Layout
from planner.latency.support import attention_kinds, require_supported

CATALOG = Catalog.default()
VLLM = CATALOG.runtime("vllm-2026")


def check(model: str, accelerator: str, precision: Precision | None = None) -> None:
    llm = CATALOG.llm(model)
    layout = Layout(tensor_parallel=1, precision=precision or llm.weight_precision, kv_precision=llm.kv_precision)
    require_supported(llm, CATALOG.accelerator(accelerator), VLLM, layout)


@pytest.mark.parametrize(
    ("model", "accelerator", "precision"),
    [
        ("gpt-oss-20b", "rtx-2080-ti", None),  # MXFP4 experts
        ("deepseek-v3.2", "a100-sxm-80gb", None),  # an index
        ("deepseek-v4-flash", "a100-sxm-80gb", "bf16"),
        ("llama-3.1-8b", "v100-sxm-32gb", "fp8"),
    ],
)
def test_what_the_engine_does_not_run_is_refused(model: str, accelerator: str, precision: Precision | None) -> None:
    with pytest.raises(CatalogError, match="does not run") as caught:
        check(model, accelerator, precision)
    assert "vLLM" in str(caught.value.rule) or "vllm" in str(caught.value.rule)


@pytest.mark.parametrize(
    ("model", "accelerator", "precision"),
    [
        ("gpt-oss-20b", "a100-sxm-80gb", None),  # Marlin
        ("gpt-oss-20b", "rtx-2080-ti", "int8"),  # no MXFP4 left
        ("llama-3.1-8b", "a100-sxm-80gb", "fp8"),  # weights alone in 8 bits
        ("deepseek-v3.2", "h100-sxm", None),
        ("deepseek-v3", "a100-sxm-80gb", "int8"),  # latent attention without an index
    ],
)
def test_what_it_runs_is_not(model: str, accelerator: str, precision: Precision | None) -> None:
    check(model, accelerator, precision)


def test_kinds_of_attention() -> None:
    assert attention_kinds(CATALOG.llm("deepseek-v3.2")) == {"latent", "indexed"}
    assert attention_kinds(CATALOG.llm("llama-3.1-8b")) == set()


def test_a_rule_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is said"):
        Unsupported(architectures=["volta"], why="no reason", source="nowhere")
