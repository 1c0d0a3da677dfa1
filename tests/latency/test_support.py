"""What an engine is not known to run is not planned, and the refusal says why and where that is written."""

from __future__ import annotations

import datetime

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Accelerator, Llm, Precision, Runtime, Support
from planner.errors import CatalogError
from planner.latency.layout import Layout
from planner.latency.support import layer_kinds, require_supported

CATALOG = Catalog.default()
ENGINES = ("vllm-2026", "sglang-2026", "trtllm-2026", "splitwise-2023")


def check(
    model: str,
    accelerator: str,
    precision: Precision | None = None,
    engine: str = "vllm-2026",
    spread: int = 1,
    pp: int = 1,
) -> None:
    llm = CATALOG.llm(model)
    layout = Layout(
        tensor_parallel=1,
        pipeline_parallel=pp,
        attention_data_parallel=spread,
        expert_parallel=spread,
        precision=precision or llm.weight_precision,
        kv_precision=llm.kv_precision,
    )
    require_supported(llm, CATALOG.accelerator(accelerator), CATALOG.runtime(engine), layout)


def runs(model: str, accelerator: str, engine: str, precision: Precision | None = None, spread: int = 1) -> bool:
    try:
        check(model, accelerator, precision, engine, spread)
    except CatalogError:
        return False
    return True


@pytest.mark.parametrize(
    ("model", "accelerator", "precision"),
    [
        ("gpt-oss-20b", "rtx-2080-ti", None),  # MXFP4 experts
        ("deepseek-v3.2", "a100-sxm-80gb", None),  # an index
        ("deepseek-v3.2", "rtx-5090", None),
        ("deepseek-v4-flash", "a100-sxm-80gb", "bf16"),
        ("llama-3.1-8b", "v100-sxm-32gb", "fp16"),  # dropped
        ("deepseek-v3", "trainium-2", None),  # latent attention
        ("gpt-oss-20b", "trainium-2", None),  # in BF16 alone
        ("deepseek-v3", "tpu-v6e", None),
        ("llama-3.1-8b", "tpu-v5e", "fp8"),
        ("llama-3.1-8b", "mi300x", "int8"),
        ("deepseek-v3", "mi250x", "bf16"),
    ],
)
def test_what_the_engine_does_not_run_is_refused(model: str, accelerator: str, precision: Precision | None) -> None:
    with pytest.raises(CatalogError, match="is not known to run") as caught:
        check(model, accelerator, precision)
    rule, fix = str(caught.value.rule), str(caught.value.fix)
    assert CATALOG.accelerator(accelerator).architecture == "volta" or "read 2026-" in rule
    assert "overlay" in fix and "runtimes/vllm-2026.yaml" in fix


@pytest.mark.parametrize(
    ("model", "accelerator", "precision"),
    [
        ("gpt-oss-20b", "a100-sxm-80gb", None),  # Marlin
        ("gpt-oss-20b", "rtx-2080-ti", "int8"),  # no MXFP4 left
        ("gpt-oss-120b", "mi300x", None),
        ("llama-3.1-8b", "a100-sxm-80gb", "fp8"),  # weights alone in 8 bits
        ("deepseek-v3.2", "h100-sxm", None),
        ("deepseek-v3", "a100-sxm-80gb", "int8"),  # latent attention without an index
        ("llama-3.1-8b", "trainium-2", "fp8"),
        ("llama-3.1-405b", "gaudi-3", "fp8"),
        ("qwen3.5-35b-a3b", "tpu-v7", None),
    ],
)
def test_what_it_runs_is_not(model: str, accelerator: str, precision: Precision | None) -> None:
    check(model, accelerator, precision)


def test_spread_and_staged_layouts_are_refused_where_engines_have_none() -> None:
    check("deepseek-v3", "h200-sxm", spread=16)
    check("deepseek-v3", "mi300x", engine="sglang-2026", spread=8)
    check("deepseek-v3", "gaudi-3")
    with pytest.raises(CatalogError, match="data-parallel attention"):
        check("deepseek-v3", "gaudi-3", spread=8)
    with pytest.raises(CatalogError, match="pipeline stages"):
        check("llama-3.1-70b", "trainium-2", pp=2)


def test_every_engine_on_every_accelerator() -> None:
    """By vendor and architecture, as each engine's installation pages list them."""
    fits: dict[str, set[str]] = {engine: set() for engine in ENGINES}
    for accelerator in CATALOG.names(Accelerator):
        for engine in ENGINES:
            if runs("llama-3.1-8b", accelerator, engine, "bf16") or runs("llama-3.1-8b", accelerator, engine, "fp16"):
                fits[engine].add(accelerator)
    vendor = {name: CATALOG.accelerator(name).vendor for name in CATALOG.names(Accelerator)}
    kind = {name: CATALOG.accelerator(name).architecture for name in CATALOG.names(Accelerator)}
    assert {kind[name] for name in vendor} - {kind[name] for name in fits["vllm-2026"]} == {"volta"}
    assert {vendor[name] for name in fits["sglang-2026"]} == {"NVIDIA", "AMD", "Intel", "Google"}
    assert {vendor[name] for name in fits["trtllm-2026"]} == {"NVIDIA"}
    assert {kind[name] for name in fits["splitwise-2023"]} == {"volta", "turing", "ampere", "ada", "hopper"}


def test_engines_compute_no_format_that_the_accelerator_lacks_beside_weights_alone() -> None:
    """An FP8 product needs FP8 units; weights alone in FP8 are widened on NVIDIA's since Turing."""
    for accelerator in CATALOG.names(Accelerator):
        entry = CATALOG.accelerator(accelerator)
        if "fp8" not in entry.peak and entry.vendor != "NVIDIA":
            assert not any(runs("llama-3.1-8b", accelerator, engine, "fp8") for engine in ENGINES)


@pytest.mark.parametrize("model", CATALOG.names(Llm))
def test_every_model_runs_somewhere_as_it_is_published(model: str) -> None:
    places = [(e, a) for e in ENGINES for a in ("h200-sxm", "b200-sxm") if runs(model, a, e)]
    assert places, layer_kinds(CATALOG.llm(model))


def test_names_in_entries_are_in_the_catalog() -> None:
    names = set(CATALOG.names(Accelerator))
    kinds = {CATALOG.accelerator(name).architecture for name in names}
    for engine in CATALOG.names(Runtime):
        for entry in CATALOG.runtime(engine).support.values():
            assert {*entry.accelerators, *entry.excluded} <= names
            assert set(entry.architectures) <= kinds


def test_an_overlay_may_say_otherwise_and_a_runtime_that_says_nothing_runs_all() -> None:
    llm, trainium = CATALOG.llm("deepseek-v3"), CATALOG.accelerator("trainium-2")
    layout = Layout(
        tensor_parallel=1, attention_data_parallel=16, expert_parallel=16, precision="fp8", kv_precision="fp8"
    )
    vllm = CATALOG.runtime("vllm-2026")
    ours = Support(
        accelerators=["trainium-2"], precisions=["fp8"], layers=["latent"], spread=True,
        source="our own port", checked=datetime.date(2026, 12, 1),
    )  # fmt: skip
    require_supported(llm, trainium, vllm.model_copy(update={"support": {**vllm.support, "ours": ours}}), layout)
    require_supported(llm, trainium, vllm.model_copy(update={"support": {}}), layout)


def test_kinds_of_layers() -> None:
    assert layer_kinds(CATALOG.llm("deepseek-v3.2")) == {"latent", "indexed"}
    assert layer_kinds(CATALOG.llm("qwen3.5-27b")) == {"gated-delta"}
    assert layer_kinds(CATALOG.llm("llama-3.1-8b")) == set()


def test_an_entry_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is said"):
        Support(precisions=["bf16"], source="nowhere", checked=datetime.date(2026, 12, 1))
