"""`planner calibrate` and `planner measure` from the command line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from planner.catalog.catalog import Catalog
from planner.cli.main import run
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.roofline import RooflineLatency


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """Steps of an L40S that are a fifth slower than the catalog says."""
    catalog = Catalog()
    llm, machine = catalog.llm("llama-3.1-8b"), catalog.machine("8x-l40s")
    layout = Layout(tensor_parallel=1, precision="bf16", kv_precision="bf16")
    latency = RooflineLatency(llm, machine, catalog.accelerator("l40s"), catalog.runtime("vllm-2026"), layout)
    lines = ["model,machine,tensor_parallel,precision,phase,batch,tokens,latency_ms"]
    for phase, n, tokens in [
        *(("prefill", 1, t) for t in (256, 1024, 2048, 4096, 8192)),
        *(("decode", n, c) for n in (1, 8, 32, 128) for c in (512, 2048)),
    ]:
        batch = prefill_batch(tokens, n) if phase == "prefill" else decode_batch(n, tokens)
        lines.append(f"llama-3.1-8b,l40s,1,bf16,{phase},{n},{tokens},{1.2e3 * float(latency.step_time_s(batch)):.6g}")
    path = tmp_path / "steps.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_table_and_overlay(steps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "overlay"
    assert run(["calibrate", str(steps), "--into", str(into), "--date", "2026-11-20"]) == 0
    out, err = capsys.readouterr()
    assert "vllm-2026 on l40s" in out and "weight_streaming" in out and "not identified, kept" in out
    assert "held out" in out and "fits worst" in out
    target = into / "runtimes" / "vllm-2026.yaml"
    assert f"wrote {target}" in err
    runtime = Catalog([into]).runtime("vllm-2026")
    assert "2026-11-20" in runtime.provenance_of("accelerators.l40s.weight_streaming").source
    before = target.read_bytes()
    assert run(["calibrate", str(steps), "--into", str(into), "--date", "2026-11-20"]) == 0
    assert target.read_bytes() == before
    # With the overlay the same measurements are already met.
    capsys.readouterr()
    assert run(["calibrate", str(steps), "--catalog", str(into), "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert all(phase["before"]["mean"] < 0.03 for phase in record["errors"])


def test_json_and_dry_run(steps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "overlay"
    words = ["calibrate", str(steps), "--into", str(into), "--name", "ours", "--dry-run", "--format", "json"]
    assert run(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["runtime"] == "vllm-2026" and record["accelerator"] == "l40s"
    assert {p["status"] for p in record["parameters"]} <= {"fitted", "at bound", "not identified", "held"}
    assert "max_batch" in record["overlay"], "a new runtime is complete"
    assert not into.exists()


def test_csv_lists_parameters(steps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", str(steps), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "path,unit,prior,value,error,status"
    assert "nothing was written" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime", "vllm-2062"], "vllm-2026"),
        (["--machine", "8x-l40"], "8x-l40s"),
        (["--machine", "dgx-a100"], "no row is of dgx-a100"),
        (["--input-format", "cvs"], "csv"),
        (["--name", "ours"], "--into DIR"),
        (["--name", "../ours", "--into", "x"], "not a name for a file"),
        (["--where", "phase"], "COLUMN=VALUE"),
        (["--where", "fase=decode"], "phase"),
        (["--keep", "links"], "did you mean: link"),
        (["--precision", "fp9"], "unknown precision"),
        (["--date", "today"], "--date"),
    ],
)
def test_wrong_options(steps: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", str(steps), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err
    assert not (steps.parent / "x").exists()


def test_an_existing_runtime_is_not_overwritten(
    steps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "overlay" / "runtimes" / "ours.yaml"
    target.parent.mkdir(parents=True)
    target.write_text("source: mine\n")
    assert run(["calibrate", str(steps), "--into", str(tmp_path / "overlay"), "--name", "ours"]) == 2
    assert "this runtime exists" in capsys.readouterr().err
    assert target.read_text() == "source: mine\n"


def test_a_full_disk_leaves_nothing_behind(
    steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import planner.export.files as files

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    into = tmp_path / "overlay"
    assert run(["calibrate", str(steps), "--into", str(into)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert list((into / "runtimes").iterdir()) == [], "neither the file nor a part of it"


def test_measure_lists_kernels_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "--list", "--model", "llama-3.1-70b", "--tensor-parallel", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "gemm bf16 m=8192 n=7168 k=8192" in lines  # gate and up: 2 x 28672 / 8 columns
    assert any(line.startswith("decode-attention") and "heads=8 kv_heads=1" in line for line in lines)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_measure_without_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure"]) == 2
    err = capsys.readouterr().err
    assert "torch is not installed" in err and "splitwise-planner[gpu]" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tensor-parallel", "7"], "32 heads"),
        (["--budget", "4 GB"], "--budget"),
        (["--model", "lama-3.1-8b"], "llama-3.1-8b"),
        (["--machine", "dgx-h10"], "dgx-h100"),
    ],
)
def test_measure_wrong_options(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "--list", *words]) == 2
    assert said in capsys.readouterr().err
