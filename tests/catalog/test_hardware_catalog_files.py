"""The shipped hardware catalog: every file obeys its schema, every name resolves, every figure agrees with its oracle.

Oracles: the compiled accelerator table (`../shared/data/accelerator_specs.csv`, where present), the Splitwise
paper's Table I and the list prices the price books cite. Files are read here without the catalog's own loader, so
that a mistake in the loader cannot hide one in the data.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ruamel.yaml import YAML

from planner.catalog.schema import (
    BY_FOLDER,
    Accelerator,
    Entry,
    Fabric,
    Machine,
    PriceBook,
    Region,
    Runtime,
)

ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "hardware_catalog"
SPECIFICATIONS = ROOT.parent / "shared" / "data" / "accelerator_specs.csv"
FILES = sorted(CATALOG.glob("*/*.yaml"))
EntryT = TypeVar("EntryT", bound=Entry)

# fmt: off
REQUIRED_ACCELERATORS = [
    "a100-sxm-40gb", "a100-sxm-80gb", "a100-pcie-40gb", "a100-pcie-80gb", "h100-sxm", "h100-pcie", "h100-nvl",
    "h200-sxm", "h20", "b200-sxm", "b300-sxm", "gb200-nvl72", "l4", "l40s", "a10g", "a40", "v100-sxm-32gb",
    "t4", "rtx-2080-ti", "rtx-3090", "rtx-4090", "rtx-6000-ada", "rtx-pro-6000-blackwell-server", "mi250x",
    "mi300x", "mi325x", "mi355x", "gaudi-2", "gaudi-3", "tpu-v5e", "tpu-v6e", "tpu-v7", "trainium-2", "gb300-nvl72",
    "h800-sxm", "a800-sxm-80gb", "l20", "rtx-5090", "gh200-96gb", "gb10",
]
# fmt: on
# Columns of the table, and the field path that its `unverified_fields` mean.
UNVERIFIED_PATHS = {
    "fp16": "peak.fp16",
    "fp8": "peak.fp8",
    "int8": "peak.int8",
    "tdp": "tdp",
    "memory_bw": "memory_bandwidth",
    "scaleup": "scale_up",
}


# Where the table disagrees with what makers say: it counts the ports that leave a server of Gaudis as scale-up links,
# and has 7.7 TB/s for a Blackwell GPU of 8 TB/s.
CORRECTED_GB_PER_S = {
    ("gaudi-2", "scale_up"): 21 * 100 / 8,
    ("gaudi-3", "scale_up"): 21 * 200 / 8,
    ("b200-sxm", "memory"): 8000.0,
    ("b300-sxm", "memory"): 8000.0,
}


def read_raw(path: Path) -> dict[str, Any]:
    raw: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return raw


@cache
def entry(path: Path) -> Entry:
    model = BY_FOLDER[path.parent.name]
    return model.model_validate({**read_raw(path), "name": path.stem}, context={"from_file": True})


def entries(model: type[EntryT]) -> dict[str, EntryT]:
    found = {p.stem: entry(p) for p in FILES if p.parent.name == model.folder}
    assert found, f"no files in {model.folder}/"
    return {name: e for name, e in found.items() if isinstance(e, model)}


def accelerator_power_w(machine: Machine) -> float:
    fraction = machine.power_cap.accelerator_fraction if machine.power_cap else 1.0
    return machine.n_accelerators * entries(Accelerator)[machine.accelerator].tdp_w * fraction


def field_exists(raw: Any, path: str) -> bool:
    """Whether a dotted path names a value; names may hold dots themselves (`aws-p5.48xlarge`)."""
    if not isinstance(raw, dict):
        return False
    return path in raw or any(
        path.startswith(f"{key}.") and field_exists(value, path[len(key) + 1 :]) for key, value in raw.items()
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_file_obeys_its_schema(path: Path) -> None:
    assert entry(path).name == path.stem
    assert path.stem == path.stem.lower()


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_provenance_names_a_field_of_the_file(path: Path) -> None:
    raw = read_raw(path)
    dangling = [p for p in raw.get("provenance", {}) if not field_exists(raw, p)]
    assert not dangling


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_value_from_memory_is_called_an_estimate(path: Path) -> None:
    provenances = [entry(path).provenance_of(p) for p in ("", *entry(path).provenance)]
    confessed = [p for p in provenances if "from memory" in p.source or "not checked" in p.source]
    assert all(p.kind == "estimate" for p in confessed)


def test_every_folder_has_files_and_no_stray_ones() -> None:
    folders = {m.folder for m in (Accelerator, Machine, Fabric, Runtime, PriceBook, Region)}
    assert {p.parent.name for p in FILES} == folders
    assert [p for folder in folders for p in (CATALOG / folder).iterdir() if p not in FILES] == []


def test_machines_name_known_accelerators_and_fabrics() -> None:
    for machine in entries(Machine).values():
        assert machine.accelerator in entries(Accelerator), machine.name
        assert machine.network.fabric in entries(Fabric), machine.name


def test_price_books_name_known_machines() -> None:
    for book in entries(PriceBook).values():
        named = {machine for _, machine in book.listed()}
        assert named, book.name
        unknown = named - set(entries(Machine))
        assert not unknown, book.name


def test_runtimes_name_known_accelerators_and_architectures() -> None:
    known = entries(Accelerator)
    architectures = {a.architecture for a in known.values()}
    for runtime in entries(Runtime).values():
        assert set(runtime.accelerators) <= set(known), runtime.name
        assert set(runtime.architectures) <= architectures, runtime.name
        for accelerator in known.values():
            efficiency = runtime.efficiency(accelerator)
            assert efficiency.gemm.keys() & accelerator.peak.keys(), (runtime.name, accelerator.name)


def test_a_provider_sells_from_its_own_site_only() -> None:
    """The paper's prices apart, which are for machines of the catalog's own site."""
    for book in entries(PriceBook).values():
        sites = {entries(Machine)[name].site for _, name in book.listed()}
        assert sites == ({"own"} if book.name.startswith("splitwise-") else {book.provider}), book.name


def test_no_machine_is_priced_by_two_default_books() -> None:
    priced = [name for book in entries(PriceBook).values() if book.default for name in book.on_demand]
    assert len(priced) == len(set(priced))


def test_spot_is_cheaper_than_on_demand() -> None:
    books = [b for b in entries(PriceBook).values() if b.spot]
    assert books
    for book in books:
        asked = {n: p for other in entries(PriceBook).values() if other.default for n, p in other.on_demand.items()}
        assert all(price < asked.get(name, price + 1) for name, price in book.spot.items())


def test_required_accelerators_are_present() -> None:
    assert set(REQUIRED_ACCELERATORS) <= set(entries(Accelerator))


def test_volta_and_turing_have_no_bf16() -> None:
    for accelerator in entries(Accelerator).values():
        assert ("bf16" in accelerator.peak) == (accelerator.architecture not in ("volta", "turing")), accelerator.name


def test_bridge_pairs_say_what_lies_beyond_the_bridge() -> None:
    pairs = [a for a in entries(Accelerator).values() if a.scale_up and a.scale_up.topology == "bridge_pairs"]
    assert {a.name for a in pairs} >= {"h100-nvl", "a40"}
    for accelerator in pairs:
        assert accelerator.scale_up and accelerator.scale_up.pcie_bandwidth_bytes_per_s
        assert accelerator.scale_up.pcie_bandwidth_bytes_per_s < accelerator.scale_up.bandwidth_bytes_per_s


@pytest.mark.parametrize("name", sorted(entries(Machine)))
def test_parts_of_a_machine_fit_its_rated_power(name: str) -> None:
    machine = entries(Machine)[name]
    drawn_w = machine.chassis_power_w + accelerator_power_w(machine)
    assert drawn_w <= 1.15 * machine.rated_power_w
    assert drawn_w >= 0.75 * machine.rated_power_w, "rated power is far above what the parts can draw"


def test_the_power_capped_machine_obeys_the_papers_rule() -> None:
    capped, full = entries(Machine)["dgx-h100-cap"], entries(Machine)["dgx-h100"]
    assert capped.rated_power_w == pytest.approx(0.7 * full.rated_power_w)
    assert capped.power_cap is not None
    assert capped.power_cap.prefill_time_factor == 1.3
    assert capped.power_cap.decode_time_factor == 1.0
    assert capped.power_cap.accelerator_fraction == 0.5


def test_every_port_of_a_gaudi_is_counted_once() -> None:
    machine, accelerator = entries(Machine)["8x-gaudi-3"], entries(Accelerator)["gaudi-3"]
    assert accelerator.scale_up is not None
    inside = machine.n_accelerators * accelerator.scale_up.bandwidth_bytes_per_s
    outside = machine.network.n_nics * machine.network.nic_bandwidth_bytes_per_s
    assert inside + outside == pytest.approx(8 * 24 * 200e9 / 8)


def test_lists_that_others_keep_are_not_called_datasheets() -> None:
    second_hand = re.compile(
        r"aiconfigurator|InferenceX|llm-analysis|LLM-Viewer|huggingface|gist\.|GPU Price Index", re.I
    )
    for accelerator in entries(Accelerator).values():
        for path in ("", *accelerator.provenance):
            origin = accelerator.provenance_of(path)
            assert origin.kind != "datasheet" or not second_hand.search(origin.source), (accelerator.name, path)


def test_reference_machines_equal_splitwise_table_1() -> None:
    machines, accelerators = entries(Machine), entries(Accelerator)
    for name, gb_per_s, gpu_w, gbit_per_s, rated_w in (
        ("dgx-a100", 2039, 400, 200, 6500),
        ("dgx-h100", 3352, 700, 400, 10200),
    ):
        machine = machines[name]
        accelerator = accelerators[machine.accelerator]
        assert machine.n_accelerators == 8
        assert accelerator.sold_as_gb == 80
        assert accelerator.memory_bandwidth_bytes_per_s == pytest.approx(gb_per_s * 1e9)
        assert accelerator.tdp_w == gpu_w
        assert machine.network.nic_bandwidth_bytes_per_s == pytest.approx(gbit_per_s * 1e9 / 8)
        assert machine.rated_power_w == pytest.approx(rated_w)


@pytest.mark.parametrize(
    ("machine", "accelerator", "gbit_per_s"),
    [
        ("aws-p4d.24xlarge", "a100-sxm-40gb", 400),
        ("aws-p4de.24xlarge", "a100-sxm-80gb", 400),
        ("aws-p5.48xlarge", "h100-sxm", 3200),
        ("aws-p5en.48xlarge", "h200-sxm", 3200),
        ("aws-p6-b200.48xlarge", "b200-sxm", 3200),
        ("aws-g5.48xlarge", "a10g", 100),
        ("aws-g6.12xlarge", "l4", 40),
        ("azure-nd96asr-v4", "a100-sxm-40gb", 1600),
        ("azure-nd96isr-h100-v5", "h100-sxm", 3200),
        ("gcp-a2-ultragpu-8g", "a100-sxm-80gb", 100),
        ("gcp-a3-highgpu-8g", "h100-sxm", 800),
        ("gcp-a3-ultragpu-8g", "h200-sxm", 3200),
    ],
)
def test_cloud_machines_have_the_published_network(machine: str, accelerator: str, gbit_per_s: float) -> None:
    m = entries(Machine)[machine]
    assert m.accelerator == accelerator
    assert m.network.n_nics * m.network.nic_bandwidth_bytes_per_s * 8 / 1e9 == pytest.approx(gbit_per_s)


@pytest.mark.parametrize(
    ("book", "machine", "usd_per_hour"),
    [
        ("splitwise-2023", "dgx-a100", 17.60),
        ("splitwise-2023", "dgx-h100", 38.00),
        ("splitwise-2023", "dgx-h100-cap", 38.00),
        ("splitwise-2023-ratio-2.35", "dgx-h100", 41.36),
        ("aws-2026-11", "aws-p4d.24xlarge", 21.96),
        ("aws-2026-11", "aws-p4de.24xlarge", 27.45),
        ("aws-2026-11", "aws-p5.48xlarge", 55.04),
        ("aws-2026-11", "aws-p5en.48xlarge", 63.30),
        ("aws-2026-11", "aws-p6-b200.48xlarge", 113.93),
        ("aws-2026-11", "aws-g5.48xlarge", 16.29),
        ("aws-2026-11", "aws-g6.12xlarge", 4.60),
        ("azure-2026-11", "azure-nd96asr-v4", 27.20),
        ("azure-2026-11", "azure-nd96amsr-a100-v4", 32.77),
        ("azure-2026-11", "azure-nd96isr-h100-v5", 98.32),
        ("lambda-2026-09", "lambda-8x-a100-40", 15.92),
        ("lambda-2026-09", "lambda-8x-a100-80", 22.32),
        ("lambda-2026-09", "lambda-8x-h100", 31.92),
        ("lambda-2026-09", "lambda-8x-b200", 53.52),
        ("coreweave-2026-09", "coreweave-8x-h100", 49.24),
        ("coreweave-2026-09", "coreweave-8x-b200", 68.80),
        ("gcp-2026-10", "gcp-a2-highgpu-8g", 29.3871),
        ("gcp-2026-10", "gcp-a2-ultragpu-8g", 40.5504),
        ("gcp-2026-10", "gcp-a3-highgpu-8g", 88.49),
        ("gcp-2026-10", "gcp-a3-ultragpu-8g", 84.8069),
        ("hyperstack-2026", "hyperstack-8x-h100", 8 * 3.20),
        ("hyperstack-2026", "hyperstack-8x-h200", 8 * 3.99),
        ("hyperstack-2026", "hyperstack-8x-b200", 8 * 6.00),
        ("hyperstack-2026", "hyperstack-8x-b300", 8 * 7.40),
        ("runpod-2026", "runpod-8x-h100", 8 * 3.99),
        ("runpod-2026", "runpod-8x-a100", 8 * 1.79),
    ],
)
def test_on_demand_prices_equal_the_quotes(book: str, machine: str, usd_per_hour: float) -> None:
    assert entries(PriceBook)[book].on_demand[machine] == pytest.approx(usd_per_hour, abs=0.005)


@pytest.mark.parametrize(
    ("machine", "n", "usd_per_accelerator"),
    [  # of 10 October 2026: github.com/ewyluda/gpu-price-index, data/observations/2026/2026-10-10.csv
        ("aws-p5.4xlarge", 1, 6.88),
        ("aws-p6-b300.48xlarge", 8, 17.802),
        ("aws-g6e.xlarge", 1, 1.861),
        ("aws-g6e.12xlarge", 4, 2.6232),
        ("aws-g6e.48xlarge", 8, 3.7664),
        ("azure-nc24ads-a100-v4", 1, 3.673),
        ("azure-nc80adis-h100-v5", 2, 6.98),
        ("azure-nd96isr-h200-v5", 8, 10.6),
        ("azure-nd96isr-mi300x-v5", 8, 6.0),
        ("coreweave-8x-h200", 8, 6.305),
        ("crusoe-8x-mi300x", 8, 3.45),
        ("gcp-a2-highgpu-4g", 4, 3.6734),
        ("hyperstack-1x-h100-pcie", 1, 2.5),
        ("lambda-1x-h100", 1, 4.29),
        ("lambda-2x-b200", 2, 6.89),
        ("lambda-4x-h100", 4, 4.09),
        ("nebius-8x-b300", 8, 9.5),
        ("oracle-bm.gpu.h100.8", 8, 10.0),
        ("oracle-bm.gpu.l40s.4", 4, 3.5),
        ("runpod-1x-l40s", 1, 1.09),
        ("runpod-8x-mi300x", 8, 2.39),
    ],
)
def test_prices_of_october_2026_equal_the_index(machine: str, n: int, usd_per_accelerator: float) -> None:
    books = [b for b in entries(PriceBook).values() if b.default and machine in b.on_demand]
    assert [book.date_of("on_demand", machine).isoformat() for book in books] == ["2026-10-10"]
    assert entries(Machine)[machine].n_accelerators == n
    assert books[0].on_demand[machine] / n == pytest.approx(usd_per_accelerator, abs=5e-4)


def test_offers_of_one_to_seventy_two_accelerators_have_a_current_price() -> None:
    """Cards in the sizes that a buyer is offered, each with a price within a year of the newest."""
    books = [book for book in entries(PriceBook).values() if book.default]
    newest = max(book.date_of("on_demand", name) for book in books for name in book.on_demand)
    current = {
        name for book in books for name in book.on_demand if (newest - book.date_of("on_demand", name)).days <= 366
    }
    sizes: dict[str, set[int]] = {}
    for name in current:
        machine = entries(Machine)[name]
        sizes.setdefault(machine.accelerator, set()).add(machine.n_accelerators)
    assert sizes["h100-sxm"] >= {1, 2, 4, 8} and sizes["b200-sxm"] >= {1, 2, 4, 8} and sizes["l40s"] >= {1, 2, 4, 8}
    assert sizes["l4"] >= {1, 4, 8} and sizes["a10g"] >= {1, 4, 8} and sizes["h200-sxm"] >= {1, 8}
    assert sizes["gb200-nvl72"] == {4, 72}
    assert set(sizes) >= {
        "mi300x", "mi355x", "b300-sxm", "rtx-pro-6000-blackwell-server", "tpu-v6e", "tpu-v7", "trainium-2", "rtx-5090",
        "gh200-96gb",
    }  # fmt: skip


def test_coreweave_spot_prices_equal_the_quotes() -> None:
    assert entries(PriceBook)["coreweave-2026-09"].spot == {"coreweave-8x-h100": 19.71, "coreweave-8x-b200": 34.11}


def test_the_papers_two_price_ratios() -> None:
    books = entries(PriceBook)
    first, second = books["splitwise-2023"], books["splitwise-2023-ratio-2.35"]
    assert first.default and not second.default
    assert first.on_demand["dgx-h100"] / first.on_demand["dgx-a100"] == pytest.approx(2.16, abs=0.005)
    assert second.on_demand["dgx-h100"] / second.on_demand["dgx-a100"] == pytest.approx(2.35)


def test_doubtful_prices_are_called_estimates() -> None:
    books = entries(PriceBook)
    assert books["azure-2026-11"].provenance_of("on_demand.azure-nd96amsr-a100-v4").kind == "estimate"
    assert books["azure-2026-11"].provenance_of("on_demand.azure-nd96asr-v4").kind == "quote"
    for book in (b for b in books.values() if b.default):
        for plan, name in book.listed():
            origin = book.origin_of(plan, name)
            assert origin.kind == "estimate" or "not checked" not in origin.source, (book.name, name)
            if plan in ("reserved_1y", "reserved_3y"):  # what headline discounts make of a list price
                assert origin.kind in ("estimate", "listed"), (book.name, name)


def test_estimated_costs_of_ownership_follow_their_stated_rule() -> None:
    book = entries(PriceBook)["owned-estimate-2026"]
    assert book.kind == "estimate" and not book.default
    a_year = 0.08 / (1 - 1.08**-4)
    for name, purchase_usd in (("dgx-a100", 199e3), ("dgx-h100", 270e3), ("dgx-h200", 310e3), ("dgx-b200", 515e3)):
        rated_kw = entries(Machine)[name].rated_power_w / 1e3
        expected = purchase_usd * a_year / 8760 + rated_kw * 150 / 730
        assert book.on_demand[name] == pytest.approx(expected, abs=0.005), name
    # SemiAnalysis InferenceX: an H100 costs its owner 1.30-1.69 USD an hour.
    assert 1.30 <= book.on_demand["dgx-h100"] / 8 <= 1.69


def test_purchases_are_those_of_the_estimated_costs_of_ownership() -> None:
    owned = entries(PriceBook)["purchase-2026"].owned
    bought = {name: terms.purchase for name, terms in owned.items()}
    assert bought == {"dgx-a100": 199e3, "dgx-h100": 270e3, "dgx-h200": 310e3, "dgx-b200": 515e3}
    assert {terms.life_months for terms in owned.values()} == {48.0}


def test_measured_accelerators_of_the_current_runtime_and_their_siblings() -> None:
    runtime, accelerators = entries(Runtime)["vllm-2026"], entries(Accelerator)
    measured = {name for name, a in accelerators.items() if runtime.is_measured_on(a)}
    assert measured == {"a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm", "l40s"}
    for sibling, original in (("a40", "a100-sxm-80gb"), ("h20", "h100-sxm"), ("l4", "l40s"), ("b300-sxm", "b200-sxm")):
        own, taken = runtime.efficiency(accelerators[sibling]), runtime.efficiency(accelerators[original])
        assert own.gemm["bf16"] == taken.gemm["bf16"], sibling
        assert own.weight_streaming == taken.weight_streaming, sibling
        assert own.decode_attention == taken.decode_attention, sibling
        assert own.step_time_error > taken.step_time_error, sibling
    assert runtime.provenance_of("accelerators.h100-sxm.gemm").kind == "derived"  # fitted to measured steps
    assert runtime.provenance_of("architectures.hopper.gemm").kind == "estimate"
    unmeasured = runtime.efficiency(accelerators["tpu-v6e"])
    assert unmeasured == runtime.defaults


def test_slow_collectives_are_the_2023_runtimes_alone() -> None:
    accelerator = entries(Accelerator)["h100-sxm"]
    old, new = (entries(Runtime)[n].efficiency(accelerator) for n in ("splitwise-2023", "vllm-2026"))
    assert old.slow_collective_tokens == 2048
    assert old.slow_collective_link is not None and old.slow_collective_link < old.link
    assert new.slow_collective_tokens is None and new.slow_collective_link is None


def test_kv_transfer_was_measured_over_the_reference_machines_nic() -> None:
    nic = entries(Machine)["dgx-a100"].network.nic_bandwidth_bytes_per_s
    for runtime in entries(Runtime).values():
        assert runtime.kv_transfer.reference_bandwidth_bytes_per_s == nic
        assert runtime.kv_transfer.synchronisation_s == pytest.approx(8e-3)


@pytest.mark.skipif(not SPECIFICATIONS.is_file(), reason=f"{SPECIFICATIONS} is not there")
def test_accelerators_equal_the_compiled_table() -> None:
    with SPECIFICATIONS.open(newline="", encoding="utf-8") as file:
        rows = {row["name"].lower(): row for row in csv.DictReader(file)}
    accelerators = entries(Accelerator)
    assert rows.keys() <= accelerators.keys()
    for name, row in rows.items():
        accelerator = accelerators[name]
        assert accelerator.vendor == row["vendor"], name
        halves = [rate for precision, rate in accelerator.peak.items() if precision in ("fp16", "bf16")]
        assert halves, name
        assert halves == pytest.approx([float(row["fp16_bf16_dense_tflops"]) * 1e12] * len(halves)), name
        peaks = {str(precision): rate for precision, rate in accelerator.peak.items()}
        columns = {"fp8": "fp8_dense_tflops", "int8": "int8_dense_tops", "fp4": "fp4_dense_tflops"}
        for precision, column in columns.items():
            assert (precision in peaks) == bool(row[column]), name
            if row[column]:
                assert peaks[precision] == pytest.approx(float(row[column]) * 1e12), name
        # The table has the size on the box; the catalog what the driver reports, which is up to 7.4 % more bytes.
        assert accelerator.sold_as_gb == float(row["memory_gb"]), name
        assert 0.98 < accelerator.memory_bytes / (float(row["memory_gb"]) * 1e9) < 1.08, name
        # H100 SXM: 3352 GB/s in the Splitwise paper, 3350 in the table.
        bandwidth = CORRECTED_GB_PER_S.get((name, "memory"), float(row["memory_bw_gbs"]))
        assert accelerator.memory_bandwidth_bytes_per_s == pytest.approx(bandwidth * 1e9, rel=1e-3), name
        if row["tdp_w"]:
            assert accelerator.tdp_w == pytest.approx(float(row["tdp_w"])), name
        else:
            assert accelerator.provenance_of("tdp").kind == "estimate", name
        assert accelerator.scale_up is not None
        scale_up = CORRECTED_GB_PER_S.get((name, "scale_up"), float(row["scaleup_gbs_unidir_per_gpu"])) * 1e9
        assert accelerator.scale_up.bandwidth_bytes_per_s == pytest.approx(scale_up), name


@pytest.mark.skipif(not SPECIFICATIONS.is_file(), reason=f"{SPECIFICATIONS} is not there")
def test_unverified_columns_of_the_compiled_table_are_estimates() -> None:
    with SPECIFICATIONS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    checked = 0
    for row in rows:
        accelerator = entries(Accelerator)[row["name"].lower()]
        for field in row["unverified_fields"].split(";"):
            path = UNVERIFIED_PATHS.get(field)
            if path is None:  # a column that the catalog does not carry, such as memory_type
                continue
            if field == "scaleup":  # of NVLink bridges, at least the PCIe figure
                kinds = [accelerator.provenance_of(f"scale_up.{p}").kind for p in ("bandwidth", "pcie_bandwidth")]
                assert "estimate" in kinds, (row["name"], field)
            else:
                assert accelerator.provenance_of(path).kind == "estimate", (row["name"], field)
            checked += 1
    assert checked > 20
