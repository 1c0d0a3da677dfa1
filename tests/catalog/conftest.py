"""Small complete catalogs in a temporary folder, so that these tests do not depend on the shipped data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FILES: dict[str, str] = {
    "accelerators/chip-one.yaml": """\
source: Chip One datasheet, 2025
kind: datasheet
vendor: Example
architecture: first
peak:
  bf16: 989 TFLOP/s
  fp8: 1979 TFLOP/s
memory: 80 GB
memory_bandwidth: 3.35 TB/s
tdp: 700 W
scale_up: {topology: switched, bandwidth: 450 GB/s}
provenance:
  peak.fp8: {source: a measurement of ours, kind: measured}
""",
    "machines/box-one.yaml": """\
source: Box One data sheet, 2025
kind: datasheet
accelerator: chip-one
n_accelerators: 8
network: {fabric: cable, n_nics: 8, nic_bandwidth: 400 Gbit/s}
rated_power: 10.2 kW
chassis_power: 3 kW
""",
    "fabrics/cable.yaml": """\
source: Cable data sheet, 2025
kind: datasheet
family: infiniband
efficiency: 90 %
latency: 3 us
""",
    "prices/shop-2025.yaml": """\
source: Shop price list of 2025-06-01
kind: quote
provider: shop
date: 2025-06-01
on_demand:
  box-one: 38 USD/h
""",
    "models/model-one.yaml": """\
source: Model One config.json
kind: datasheet
title: Model One
n_layers: 32
hidden_size: 4096
vocabulary_size: 32000
tied_embeddings: false
attention: {type: mha, n_heads: 32, n_kv_heads: 32, head_dim: 128}
mlp: {intermediate_size: 11008, gated: true}
weight_precision: fp16
kv_precision: fp16
max_context_tokens: 4096
n_parameters: 6.74 B
""",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, str], str], Path]:
    """Return a function that writes files into a folder below tmp_path and returns the folder."""

    def write_files(files: dict[str, str], name: str = "mycat") -> Path:
        for path, text in files.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return tmp_path / name

    return write_files


@pytest.fixture
def base(write: Callable[[dict[str, str], str], Path]) -> dict[str, Path]:
    """Return the folders of a complete small catalog that stands in for the built-in one."""
    root = write(FILES, "base")
    return {path.name: path for path in root.iterdir()}
