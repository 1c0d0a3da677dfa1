"""Recorded traces and built-in workloads against published and recomputed figures."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Workload
from planner.workload.describe import describe
from planner.workload.library import sizes_of
from planner.workload.traces import read_trace

REPOSITORY = Path(__file__).resolve().parents[2]
BUILTIN = REPOSITORY / "planner" / "catalog" / "builtin" / "workloads"
MEASURED = {
    "azure-code-2023": "azure_2023_code.csv",
    "azure-conv-2023": "azure_2023_conv.csv",
    "long-context-chat": "mooncake_conversation.jsonl",
}
ESTIMATED = ("batch-documents", "summarisation")


@pytest.mark.parametrize(
    ("file", "rows", "rate_per_s", "prompt", "output", "cv2", "kv_token_steps"),
    [
        ("azure_2023_code.csv", 8819, 2.57, (2048, 1469, 5186, 7436, 7437), (27.9, 13, 55, 249, 1899), 173, 59_416),
        ("azure_2023_conv.csv", 19366, 5.53, (1155, 1020, 2734, 4142, 14050), (211, 129, 424, 601, 1000), 1.2, 259_047),
    ],
)  # fmt: skip
def test_azure_traces_against_the_published_table(
    data: Path, file: str, rows: int, rate_per_s: float, prompt: tuple[float, ...], output: tuple[float, ...],
    cv2: float, kv_token_steps: float,
) -> None:  # fmt: skip
    summary = describe(read_trace(data / file))
    assert summary.n_requests == rows
    assert summary.rate_per_s == pytest.approx(rate_per_s, abs=0.005)
    assert summary.arrival_cv2 == pytest.approx(cv2, rel=0.005)
    assert summary.mean_kv_token_steps == pytest.approx(kv_token_steps, abs=0.5)
    for tokens, (mean, p50, p90, p99, largest) in ((summary.prompt_tokens, prompt), (summary.output_tokens, output)):
        assert tokens.mean == pytest.approx(mean, abs=0.5)
        assert tokens.max == largest
        # The table interpolates between requests where we name one (249 and 252 output tokens), hence 1.3 %.
        assert [tokens.p50, tokens.p90, tokens.p99] == pytest.approx([p50, p90, p99], rel=0.013)


def test_paper_medians(data: Path) -> None:
    # Splitwise: coding median 1500 prompt / 13 output; conversation 1020 / 129.
    code, conv = (describe(read_trace(data / f"azure_2023_{part}.csv")) for part in ("code", "conv"))
    assert code.prompt_tokens.p50 == pytest.approx(1500, rel=0.03)
    assert (code.output_tokens.p50, conv.prompt_tokens.p50, conv.output_tokens.p50) == (13, 1020, 129)


def test_other_recorded_traces_are_recognised(data: Path) -> None:
    mooncake = read_trace(data / "mooncake_conversation.jsonl")
    assert (mooncake.format, mooncake.n_requests) == ("mooncake", 12_031)
    assert mooncake.duration_s == pytest.approx(59 * 60, rel=0.01)
    poisson = read_trace(data / "code70_arrivals.csv")
    assert poisson.format == "splitwise-sim"
    assert poisson.rate_per_s == pytest.approx(70, rel=0.02)
    assert poisson.arrival_cv2 == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("name", "file"), MEASURED.items())
def test_fit_against_its_trace(data: Path, name: str, file: str) -> None:
    measured = describe(read_trace(data / file))
    fitted = describe(sizes_of(Catalog().workload(name)))
    for side in ("prompt_tokens", "output_tokens"):
        for figure in ("mean", "p50", "p90", "p99"):
            expected = getattr(getattr(measured, side), figure)
            assert getattr(getattr(fitted, side), figure) == pytest.approx(expected, rel=0.03), (side, figure)
    assert fitted.mean_kv_token_steps == pytest.approx(measured.mean_kv_token_steps, rel=0.05)
    assert fitted.decode_context_tokens == pytest.approx(measured.decode_context_tokens, rel=0.03)


@pytest.mark.parametrize(("name", "file"), MEASURED.items())
def test_compression_of_a_trace(data: Path, name: str, file: str) -> None:
    sizes = read_trace(data / file).sizes()
    small = sizes.compressed(1024)
    assert small.mean_prompt_tokens == pytest.approx(sizes.mean_prompt_tokens, rel=1e-9)
    assert small.mean_kv_token_steps == pytest.approx(sizes.mean_kv_token_steps, rel=0.01)
    for which in ("prompt", "output"):
        for p in (0.5, 0.9, 0.99):
            assert small.quantile(which, p) == pytest.approx(sizes.quantile(which, p), rel=0.04)
        assert small.quantile(which, 0.999) == pytest.approx(sizes.quantile(which, 0.999), rel=0.05)


def test_the_catalog_has_them_all_with_sources() -> None:
    catalog = Catalog()
    assert {*MEASURED, *ESTIMATED} <= set(catalog.names(Workload))
    for name in MEASURED:
        assert catalog.workload(name).kind == "derived"
    for name in ("azure-code-2023", "azure-conv-2023"):
        workload = catalog.workload(name)
        assert "CC-BY 4.0" in workload.source
        assert workload.arrival_cv2 == 1
        assert "Poisson" in workload.provenance_of("arrival_cv2").source
    for name in ESTIMATED:
        assert catalog.workload(name).kind == "estimate"
        assert "Not measured" in catalog.workload(name).source


def test_estimates_say_what_their_sources_say() -> None:
    summaries = sizes_of(Catalog().workload("summarisation"))
    assert summaries.quantile("prompt", [0.1, 0.9]) == pytest.approx([2000, 8000], rel=0.02)
    assert summaries.quantile("output", [0.1, 0.9]) == pytest.approx([150, 300], rel=0.02)
    batch = sizes_of(Catalog().workload("batch-documents"))
    assert [batch.quantile(side, 0.5) for side in ("prompt", "output")] == pytest.approx([3000, 300], rel=0.02)


def fit_workloads(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    script = REPOSITORY / "benchmarks" / "fit_workloads.py"
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    return int(str(caught.value.code))


@pytest.mark.parametrize("name", [*MEASURED, *ESTIMATED])
def test_the_script_writes_the_builtin_files_byte_for_byte(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert fit_workloads(monkeypatch, "--data", str(data), "--output", str(tmp_path)) == 0
    assert (tmp_path / f"{name}.yaml").read_bytes() == (BUILTIN / f"{name}.yaml").read_bytes()


def test_the_script_notices_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["--data", str(tmp_path / "nowhere"), "--output", str(tmp_path)]
    assert fit_workloads(monkeypatch, *nowhere) == 0
    assert sorted(p.stem for p in tmp_path.iterdir()) == sorted(ESTIMATED)
    assert "left alone" in capsys.readouterr().err
    assert fit_workloads(monkeypatch, *nowhere, "--check") == 0
    (tmp_path / "summarisation.yaml").write_text("title: edited\n")
    assert fit_workloads(monkeypatch, *nowhere, "--check") == 1
    assert (tmp_path / "summarisation.yaml").read_text() == "title: edited\n"
