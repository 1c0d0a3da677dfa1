"""Readers of measured kernels (`shared/data/kernels/`), as groups that one set of efficiencies must explain."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from measurements import DATA
from numpy.typing import NDArray

from planner.calibration import kernels
from planner.calibration.kernels import kernel_time_s
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency

Floats = NDArray[np.float64]
FOLDER = DATA / "kernels"
MACHINES = {"a100-sxm-80gb": "dgx-a100", "h100-sxm": "dgx-h100", "b200-sxm": "dgx-b200"}
# As the tables name precisions. Blocks of 128 x 128 are how DeepSeek and its kin quantise; per-tensor FP8 is `fp8`.
DENSE = {"bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8", "nvfp4": "fp4", "int8_wo": "int8", "int4_wo": "int4"}
EXPERTS = DENSE | {"w4a16_mxfp4": "mxfp4", "w4a8_mxfp4_mxfp8": "mxfp4"}
# Busiest rank over the mean of the power-law tables: the rank of n with most calls holds n^0.4 times the mean.
POWER_LAW_EXPONENT = 0.4


@dataclass(frozen=True, eq=False)
class Group:
    """Kernels of one kind on one accelerator, by one engine and in one precision; arrays of the same length."""

    kind: str
    accelerator: str
    engine: str
    label: str
    precision: str
    kv_precision: str
    shape: dict[str, Floats]
    time_s: Floats

    def predict_s(self, catalog: Catalog, efficiency: Efficiency) -> Floats:
        """The latency model's time of each [s]."""
        machine = catalog.machine(MACHINES[self.accelerator])
        accelerator = catalog.accelerator(self.accelerator)
        link = accelerator.scale_up.bandwidth_bytes_per_s if accelerator.scale_up else 0.0
        nic = machine.network.n_nics * machine.network.nic_bandwidth_bytes_per_s / machine.n_accelerators

        def times(shape: dict[str, Floats]) -> Floats:
            return kernel_time_s(
                self.kind, shape, self.precision, accelerator, efficiency, link,
                kv_precision=self.kv_precision, nic_bytes_per_s=nic,
            )  # fmt: skip

        if self.kind != kernels.ALL_REDUCE:
            return times(self.shape)
        found = np.empty(self.time_s.shape)
        for n in np.unique(self.shape["ranks"]):
            at = self.shape["ranks"] == n
            found[at] = times({"ranks": n, "bytes": self.shape["bytes"][at]})
        return found


Row = dict[str, str]
Key = tuple[str, str, str, str, str, str]  # kind, accelerator, engine, label, precision, KV precision


def _groups(name: str, read: Callable[[Row], Iterator[tuple[Key, dict[str, float]]]]) -> list[Group]:
    found: dict[Key, list[tuple[dict[str, float], float]]] = defaultdict(list)
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key, shape in read(row):
                found[key].append((shape, float(row["latency_us"]) * 1e-6))
    return [
        Group(*key, {name: np.array([s[name] for s, _ in rows]) for name in rows[0][0]}, np.array([t for _, t in rows]))
        for key, rows in sorted(found.items())
    ]


def gemm() -> list[Group]:
    """Products of dense matrices, quantisation of their inputs included."""

    def read(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
        about = (kernels.GEMM, row["gpu"], row["engine"], row["dtype"], DENSE[row["dtype"]], "bf16")
        yield about, {n: float(row[n]) for n in "mnk"}

    return _groups("gemm", read)


def all_reduce() -> list[Group]:
    """All-reduces of bf16 inside a CUDA graph."""

    def read(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
        about = (kernels.ALL_REDUCE, row["gpu"], row["engine"], "bfloat16", "bf16", "bf16")
        yield about, {"ranks": float(row["ranks"]), "bytes": 2.0 * float(row["elements"])}

    return _groups("all_reduce", read)


def experts() -> list[Group]:
    """Expert layers; of the power-law tables the busiest rank is taken to hold n^0.4 times the mean."""

    def read(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
        about = (kernels.EXPERTS, row["gpu"], row["engine"], row["dtype"], EXPERTS[row["dtype"]], "bf16")
        names = ("num_tokens", "topk", "num_experts", "moe_ep_size", "moe_tp_size", "hidden_size", "inter_size")
        n, k, total, ep, tp, hidden, inner = (float(row[name]) for name in names)
        local, skewed = total / ep, row["distribution"] != "balanced"
        calls = n * k / ep * (min(ep**POWER_LAW_EXPONENT, ep) if skewed else 1.0)
        distinct = local * -np.expm1(-calls / local) if skewed else min(local, max(calls, 1.0))
        yield about, {"tokens": n, "calls": calls, "distinct": distinct, "hidden": hidden, "columns": inner / tp,
                      "spread": float(ep > 1)}  # fmt: skip

    return _groups("moe", read)


def latent() -> list[Group]:
    """Latent attention with its projections, prefill and decode."""

    def reader(kind: str) -> Callable[[Row], Iterator[tuple[Key, dict[str, float]]]]:
        def read(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
            kv = {"bfloat16": "bf16", "fp8": "fp8"}[row["kv_cache_dtype"]]
            label = f"{row['gemm_type']}, KV {kv}"
            about = (kind, row["gpu"], row["engine"], label, DENSE[row["gemm_type"]], kv)
            batch, tokens, step, heads = (float(row[n]) for n in ("batch_size", "isl", "step", "num_heads"))
            shape = {"batch": batch, "heads": heads}
            if kind == kernels.LATENT_PREFILL:
                yield about, shape | {"tokens": tokens, "cached": step}
            else:
                yield about, shape | {"context": tokens + step}

        return read

    context = _groups("mla_context_module", reader(kernels.LATENT_PREFILL))
    return context + _groups("mla_generation_module", reader(kernels.LATENT_DECODE))


def exchange() -> list[Group]:
    """All-to-alls of expert parallelism; tokens are those of one rank."""

    def read(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
        backend, engine = row["comm_backend"], row["engine"]
        if "_v2_" in backend:  # an experiment of vLLM, twice as slow as what it would replace
            return
        low_latency = float("_ll" in backend)
        # DeepEP sends FP8 out and brings 16 bits back, unless the table says otherwise.
        usual = 1.0 if row["phase"] == kernels.DISPATCH else 2.0
        width = {"bfloat16": 2.0, "fp8": 1.0, "nvfp4": 0.5625, "fp4": 0.5625}.get(row["comm_dtype"], usual)
        names = ("num_tokens", "hidden_size", "topk", "ep_size", "node_num")
        tokens, hidden, k, ranks, machines = (float(row[n]) for n in names)
        about = (row["phase"], row["gpu"], engine, f"{backend} {row['comm_dtype']}".strip(), "bf16", "bf16")
        yield about, {"tokens": tokens, "hidden": hidden, "per_token": k, "ranks": ranks, "machines": machines,
                      "width": width, "low_latency": low_latency}  # fmt: skip

    return _groups("moe_all_to_all", read)


def attention() -> list[Group]:
    """Attention of full heads without windows, 16 bits."""

    def context(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
        if row["kv_dtype"] == row["dtype"] == "bfloat16" and row["window"] == row["context"] == "0":
            about = (kernels.PREFILL_ATTENTION, row["gpu"], row["engine"], "bfloat16", "bf16", "bf16")
            yield about, {n: float(row[n]) for n in ("batch", "tokens", "heads", "kv_heads", "head_dim")}

    def generation(row: Row) -> Iterator[tuple[Key, dict[str, float]]]:
        if row["kv_dtype"] == row["dtype"] == "bfloat16" and row["window"] == "0":
            about = (kernels.DECODE_ATTENTION, row["gpu"], row["engine"], "bfloat16", "bf16", "bf16")
            yield about, {n: float(row[n]) for n in ("batch", "context", "heads", "kv_heads", "head_dim")}

    return _groups("attention_context", context) + _groups("attention_generation", generation)
