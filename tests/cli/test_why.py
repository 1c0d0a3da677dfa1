"""`planner why`: formats and exit codes, and the line under every plan."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Planner = Callable[..., Any]


def test_formats(planner: Planner) -> None:
    asked = ("why", "dgx-h100", "--rate", "20/s", "--machine", "dgx-a100")
    found = json.loads(planner(*asked, "--format", "json").out)
    assert found["reasons"][0]["status"] == "not_named"
    assert "dgx-h100: other machines were named" in planner(*asked).out
    assert planner(*asked, "--format", "csv").out.startswith("model,")


def test_each_machine_that_was_named_and_not_chosen_stands_under_the_plan(planner: Planner) -> None:
    named = ("--machine", "dgx-a100", "--machine", "dgx-h100", "--machine", "8x-l40s")
    text = planner("optimize", "--rate", "20/s", "--objective", "power", *named).out
    assert re.search(r"Not chosen  8x-l40s: out of reach: TTFT p99 <= 1.00 s: at best [\d.]+ s, unloaded, on", text)


def test_bad_input(planner: Planner) -> None:
    assert "did you mean: dgx-h100" in planner("why", "dgx-h101", code=2).err
    assert "too little" in planner("why", "dgx-h100", "--machine", "dgx-h100", "--max-power", "1kW", code=3).err
