"""Requests in files: CSV and Parquet say the same, whole or not at all."""

from __future__ import annotations

import builtins
import csv
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import OutputError
from planner.export.request_file import check_request_file, write_requests
from planner.simulation import request_rows
from planner.simulation.report import SimulationReport


@pytest.fixture(scope="module")
def report() -> SimulationReport:
    pools = [{"role": "mixed", "machine": "dgx-h100", "count": 2}]
    return planner.simulate(pools, rate="20/s", n_requests=1500, seeds=2)


def test_csv(report: SimulationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_rows, "ROWS_AT_ONCE", 400)
    file = tmp_path / "r.csv"
    write_requests(file, report.outcomes)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(rows) == 3000
    for row, record in zip(rows, report.request_records(), strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in record.items()}


def test_parquet(report: SimulationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra `parquet`")
    monkeypatch.setattr(request_rows, "ROWS_AT_ONCE", 400)
    file = tmp_path / "r.parquet"
    write_requests(file, report.outcomes)
    assert parquet.read_table(file).to_pylist() == list(report.request_records())
    assert parquet.ParquetFile(file).num_row_groups == 8


def test_a_file_that_fails_half_way_is_not_there(report: SimulationReport, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("before")

    def broken() -> Any:
        yield report.outcomes[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_requests(file, broken())
    assert file.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_names_and_pyarrow_are_checked_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="CSV or Parquet"):
        check_request_file(Path("r.xlsx"), "--requests-file")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OutputError, match="pyarrow is not installed"):
        check_request_file(Path("r.parquet"), "--requests-file")
    check_request_file(Path("r.csv"), "--requests-file")
