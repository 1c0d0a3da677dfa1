"""A simulation as text: every block, units, colour, and what happened on the way."""

from __future__ import annotations

import pytest

import planner
from planner.export.tables.simulation import simulation_table
from planner.simulation.report import SimulationReport


@pytest.fixture(scope="module")
def report() -> SimulationReport:
    pools = [
        {"role": "prefill", "machine": "dgx-h100", "count": 2, "tensor_parallel": 8},
        {"role": "decode", "machine": "dgx-h100", "count": 2, "tensor_parallel": 8},
    ]
    return planner.simulate(
        pools, rate="20/s", slo=["ttft.p90=1s", "tbt.p90=1.01x"], n_requests=3000, seeds=1, policy="splitwise",
        failures=["decode:1@30s-90s"],
    )  # fmt: skip


def test_every_block_is_there(report: SimulationReport) -> None:
    text = simulation_table(report)
    assert "Splitwise-HH for llama-3.1-70b (bf16, vllm-2026), azure-conv-2023 at 20 requests/s" in text
    assert "went to the other pool" in text
    assert "decode:1 from 30.0 s to 90.0 s; " in text and "began again" in text
    assert "against the same request alone on dgx-a100" in text
    assert "J a request" in text
    assert text.endswith("\n")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    row = next(line for line in lines if line.startswith("  TTFT p90"))
    assert row.split()[2:4] == ["1.00", "s"] and row.endswith("  met")


def test_missed_objectives_are_red_on_a_terminal(report: SimulationReport) -> None:
    objectives = tuple(o.model_copy(update={"met": False}) for o in report.objectives)
    text = simulation_table(report.model_copy(update={"objectives": objectives}), colour=True)
    assert "\x1b[31mMISSED\x1b[0m" in text
    assert "Does not meet the objectives (TTFT p90, TBT p90)" in text


def test_an_interrupted_run_says_so_first(report: SimulationReport) -> None:
    text = simulation_table(report.model_copy(update={"interrupted": True, "n_unfinished": 12}))
    assert "INTERRUPTED" in text.splitlines()[1]
    assert "12 were in flight when it was interrupted" in " ".join(text.split())


def test_requests_too_large_are_named(report: SimulationReport) -> None:
    named = tuple(f"run 1 request {i}: 9000 + 10 tokens" for i in range(5))
    text = simulation_table(report.model_copy(update={"n_too_large": 31, "too_large": named}))
    assert "31 requests never fit (run 1 request 0: 9000 + 10 tokens; run" in " ".join(text.split())
