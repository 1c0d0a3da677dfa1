"""A pool as one word of text: `prefill=dgx-h100:27`, `mixed=dgx-a100:10:tp4pp2`."""

from __future__ import annotations

import re
from typing import Any

from planner.errors import ScenarioError, UnknownNameError

ROLES = ("prefill", "decode", "mixed")
POOL_FORM = "ROLE=MACHINE:COUNT[:LAYOUT]"
_DEGREES = {"tp": "tensor_parallel", "pp": "pipeline_parallel", "ep": "expert_parallel"} | {
    "dp": "attention_data_parallel"
}


def read_pool(text: str, *, where: str = "--pool") -> dict[str, Any]:
    """Read `prefill=dgx-h100:27` or `mixed=dgx-a100:10:tp4pp2` as the fields of a pool.

    Raises
    ------
    ScenarioError
        Not in that form, with the form.
    UnknownNameError
        An unknown role, with near misses.
    """
    match = re.fullmatch(r"\s*([^=]+?)\s*=\s*([^:]+?)\s*:\s*(\d+)\s*(?::\s*((?:[a-zA-Z]{2}\d+)+)\s*)?", text)
    if not match:
        raise ScenarioError(
            "not a pool", where=where, value=text, rule=POOL_FORM, fix="write it like prefill=dgx-h100:27:tp8"
        )
    role, machine, count, layout = match.groups()
    if role not in ROLES:
        raise UnknownNameError.of("role", role, ROLES, where=where)
    if int(count) < 1:
        raise ScenarioError("a pool has at least one machine", where=where, value=text)
    pool: dict[str, Any] = {"role": role, "machine": machine, "count": int(count)}
    for letters, degree in re.findall(r"([a-zA-Z]{2})(\d+)", layout or ""):
        name = _DEGREES.get(letters.lower())
        if name is None or name in pool:
            raise ScenarioError(
                f"{letters}{degree} is not a parallel degree" if name is None else f"{letters} is given twice",
                where=where, value=text,
                rule="tpN, ppN, epN and dpN: tensor, pipeline, expert and attention data parallel",
            )  # fmt: skip
        pool[name] = int(degree)
    if layout and "tensor_parallel" not in pool:
        raise ScenarioError(
            "a layout needs its tensor degree", where=where, value=text, fix="write it like tp8 or tp4pp2"
        )
    return pool
