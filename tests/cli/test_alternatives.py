"""`planner alternatives`: options, formats, exit codes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from planner.studies import alternatives as module
from planner.studies.alternatives_result import Alternatives

Planner = Callable[..., Any]
SMALL = ("alternatives", "--rate", "20/s", "--within", "30 %", "--owned", "dgx-a100=2")


def test_table_json_and_csv(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_MACHINE", "dgx-a100 dgx-h100")
    found = Alternatives.model_validate_json(planner(*SMALL, "--format", "json").out)
    monkeypatch.setattr(module, "alternatives", lambda *_, **__: found)  # the same in every form
    rows = list(csv.DictReader(io.StringIO(planner(*SMALL, "--format", "csv").out)))
    assert [r["pools"] for r in rows] == [p.pools for p in found.plans]
    text = planner(*SMALL).out
    assert "Plans within 30 % of the least cost" in text and "Owned: 2 x dgx-a100" in text
    for plan in found.plans:
        line = next(line for line in text.splitlines() if f"  {plan.pools}  " in line)
        assert "; ".join(plan.reasons) in line and f"{plan.cost_usd_per_hour:,.2f}" in line
        assert (plan.bought or "nothing") in line
    nothing_owned = found.model_copy(update={"owned": {}})
    monkeypatch.setattr(module, "alternatives", lambda *_, **__: nothing_owned)
    assert "to buy" not in planner(*SMALL[:-2]).out


def test_options_become_arguments(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def stop(scenario: object, **arguments: Any) -> None:
        seen.update(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "alternatives", stop)
    planner(*SMALL, "--owned", "dgx-h100=1", "--most", "3", "--objective", "power", code=130)
    assert {k: v for k, v in seen.items() if k != "progress"} == {
        "within": "30 %", "owned": {"dgx-a100": 2, "dgx-h100": 1}, "most": 3, "objective": "power", "rate_per_s": 20.0,
        "verify": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--within", "5"], 2, "write it like 5 %"),
        (["--within", "x"], 2, "--within: not a fraction"),
        (["--owned", "dgx-a10=2"], 2, "--owned: unknown machine"),
        (["--owned", "20"], 2, "--owned: not a stock"),
        (["--most", "0"], 2, "--most: at least one mix"),
        (["--objective", "throughput", "--max-power", "100kW"], 2, "--objective: alternatives of most or least"),
        (["--max-power", "1kW"], 3, "--max-power: 1 kW is too little"),
    ],
)
def test_bad_input(options: list[str], code: int, says: str, planner: Planner) -> None:
    assert says in planner("alternatives", "--rate", "20/s", *options, code=code).err
