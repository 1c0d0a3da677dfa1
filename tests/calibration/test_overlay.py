"""A fit as a catalog overlay: reads back as fitted, says where it comes from, is written whole or not at all."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.calibration import Calibration, Measurements, calibrate
from planner.calibration.overlay import check_overlay, overlay_text
from planner.catalog.catalog import Catalog
from planner.catalog.lint import lint
from planner.catalog.schema import Efficiency
from planner.errors import CatalogError, OutputError

DATE = datetime.date(2026, 11, 20)


def fitted(catalog: Catalog, made_steps: Callable[..., Measurements], machine: str = "dgx-h100") -> Calibration:
    base = catalog.runtime("vllm-2026")
    truth: Efficiency = base.efficiency(catalog.accelerator_of(machine)).model_copy(
        update={"weight_streaming": 0.66, "sequence_overhead_s": 33.3e-6}
    )
    return calibrate(catalog, made_steps(truth, machine=machine), base, catalog.machine(machine))


def put(folder: Path, name: str, text: str) -> Catalog:
    path = folder / "runtimes" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    return Catalog([folder])


def test_lies_over_its_base_and_reads_back(
    catalog: Catalog, made_steps: Callable[..., Measurements], tmp_path: Path
) -> None:
    found = fitted(catalog, made_steps)
    text = overlay_text(found, catalog, "vllm-2026", DATE)
    layered = put(tmp_path, "vllm-2026", text)
    runtime = layered.runtime("vllm-2026")
    assert runtime.efficiency(layered.accelerator("h100-sxm")) == found.efficiency
    assert runtime.efficiency(layered.accelerator("l40s")) == catalog.runtime("vllm-2026").efficiency(
        catalog.accelerator("l40s")
    ), "other accelerators stay as they were"
    origin = runtime.provenance_of("accelerators.h100-sxm.weight_streaming")
    assert origin.kind == "measured"
    for said in ("2026-11-20", "made.csv", "dgx-h100", "held out", f"{found.n_rows} measurements"):
        assert said in origin.source
    assert not [f for f in lint(layered) if f.severity == "error"]


def test_a_new_runtime_is_complete(catalog: Catalog, made_steps: Callable[..., Measurements], tmp_path: Path) -> None:
    found = fitted(catalog, made_steps)
    layered = put(tmp_path, "ours", overlay_text(found, catalog, "ours", DATE))
    ours, base = layered.runtime("ours"), layered.runtime("vllm-2026")
    assert ours.efficiency(layered.accelerator("h100-sxm")) == found.efficiency
    assert (ours.max_batch, ours.defaults, ours.kv_transfer) == (base.max_batch, base.defaults, base.kv_transfer)
    assert ours.provenance_of("accelerators.h100-sxm.link").source.startswith("planner calibrate")
    assert ours.provenance_of("max_batch") == base.provenance_of("max_batch")
    assert not [f for f in lint(layered) if f.severity == "error"]
    with pytest.raises(OutputError, match="there is a runtime 'splitwise-2023'"):
        overlay_text(found, catalog, "splitwise-2023", DATE)


def test_a_second_accelerator_joins_the_file(
    catalog: Catalog, made_steps: Callable[..., Measurements], tmp_path: Path
) -> None:
    first, second = fitted(catalog, made_steps), fitted(catalog, made_steps, "8x-l40s")
    text = "# ours\n" + overlay_text(first, catalog, "vllm-2026", DATE)
    both = overlay_text(second, catalog, "vllm-2026", DATE, text)
    assert both.startswith("# ours\n"), "comments stay"
    layered = put(tmp_path, "vllm-2026", both)
    for found in (first, second):
        accelerator = layered.accelerator(found.accelerator)
        assert layered.runtime("vllm-2026").efficiency(accelerator) == found.efficiency
    again = overlay_text(second, catalog, "vllm-2026", DATE, both)
    assert again == both, "the same calibration twice is the same file"


def test_what_would_not_read_back_is_refused(catalog: Catalog, made_steps: Callable[..., Measurements]) -> None:
    found = fitted(catalog, made_steps)
    text = overlay_text(found, catalog, "vllm-2026", DATE)
    check_overlay(text, found, catalog, "vllm-2026")
    with pytest.raises(CatalogError, match="would not read back as fitted") as caught:
        check_overlay(text.replace("weight_streaming: ", "weight_streaming: 0.1 # ", 1), found, catalog, "vllm-2026")
    assert caught.value.value == "weight_streaming"


def test_the_same_input_gives_the_same_bytes(catalog: Catalog, made_steps: Callable[..., Measurements]) -> None:
    texts = {overlay_text(fitted(catalog, made_steps), catalog, "ours", DATE) for _ in range(2)}
    assert len(texts) == 1
