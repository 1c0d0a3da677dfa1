"""Small fleets that tests share."""

from __future__ import annotations

from typing import Any

CHAT: dict[str, Any] = {"workload": "azure-conv-2023", "rate": "70/s"}
CODE: dict[str, Any] = {"workload": "azure-code-2023", "rate": "20/s"}
DOCS: dict[str, Any] = {
    "prompt_tokens": 3000, "output_tokens": 300,
    "batch": {"requests": "1 M", "arrives": "18:00", "deadline": "06:00"},
}  # fmt: skip


def fleet(**fields: Any) -> dict[str, Any]:
    """A fleet of machines on demand, of one workload unless told."""
    return {"workloads": {"chat": CHAT}, "plans": ["on_demand"], **fields}
