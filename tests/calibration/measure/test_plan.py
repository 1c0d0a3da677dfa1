"""The kernels to time follow from the model's shape."""

from __future__ import annotations

import pytest

from planner.calibration.measure import kernels_for
from planner.calibration.measure.plan import matrix_shapes
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Llm
from planner.latency.layout import Layout
from planner.latency.weights import matrices

CATALOG = Catalog()


@pytest.mark.parametrize("name", CATALOG.names(Llm))
@pytest.mark.parametrize("tp", [1, 8])
def test_shapes_are_those_of_every_model(name: str, tp: int) -> None:
    llm = CATALOG.llm(name)
    kernels = kernels_for(llm, tp, ("bf16", "fp8"), n_gpus=8)
    assert len(set(kernels)) == len(kernels)
    assert all(size >= 1 for kernel in kernels for _, size in kernel.shape)
    kinds = {"gemm", "weight-streaming", "prefill-attention", "launch", "all-reduce"}
    latent = llm.attention.type == "mla"
    assert {k.kind for k in kernels} == (kinds if latent else kinds | {"decode-attention"})
    assert {k.size("ranks") for k in kernels if k.kind == "all-reduce"} == {2, 4, 8}


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_shapes_hold_the_weights_of_a_layer(tp: int) -> None:
    llm = CATALOG.llm("llama-3.1-8b")
    layout = Layout(tensor_parallel=tp, precision="bf16", kv_precision="bf16")
    layer = sum(m.elements for m in matrices(llm, layout) if m.name != "lm-head")
    assert sum(n * k for n, k in matrix_shapes(llm, tp)) == layer


def test_a_short_budget_still_has_every_kind() -> None:
    first = kernels_for(CATALOG.llm("llama-3.1-8b"), 1, ("bf16",))[:5]
    assert {k.kind for k in first} == {
        "launch", "gemm", "weight-streaming", "prefill-attention", "decode-attention"
    }  # fmt: skip


def test_one_gpu_has_no_all_reduce() -> None:
    assert not [k for k in kernels_for(CATALOG.llm("llama-3.1-8b"), 1, ("bf16",)) if k.kind == "all-reduce"]
