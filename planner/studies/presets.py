"""The comparisons of the Splitwise paper, as fields of a scenario and arguments of `compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import UnknownNameError

# Section V of arXiv 2311.18677v2: BLOOM-176B on the authors' software, both Azure traces, the nine objectives of
# Table VI, the designs of Table V; clusters that cost, or draw, as much as 40 DGX H100, or that serve 70 requests/s.
# Its arrivals are Poisson.
_FIELDS: Mapping[str, Any] = {
    "model": "bloom-176b", "runtime": "splitwise-2023", "slo": ("splitwise",), "arrivals": "poisson"
}  # fmt: skip
_ARGUMENTS: Mapping[str, Any] = {
    "designs": ("paper",),
    "workloads": ("azure-code-2023", "azure-conv-2023"),
    "relative_to": "Baseline-H100",
}
_RATIO_2_35: Mapping[str, Any] = {"prices": ("splitwise-2023-ratio-2.35",)}


@dataclass(frozen=True)
class Preset:
    """A comparison by name.

    Attributes
    ----------
    fields : mapping
        Fields of the scenario.
    arguments : mapping
        Arguments of `compare`.
    """

    fields: Mapping[str, Any]
    arguments: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "splitwise": Preset({"preset": "splitwise"}, {}),  # what it means to every command
    "splitwise-iso-throughput": Preset(
        {**_FIELDS, "rate": 70.0}, {**_ARGUMENTS, "objectives": ("cost", "power", "machines")}
    ),
    "splitwise-iso-power": Preset(_FIELDS, {**_ARGUMENTS, "budgets": ("power=40xdgx-h100",)}),
    "splitwise-iso-cost": Preset(_FIELDS, {**_ARGUMENTS, "budgets": ("cost=40xdgx-h100",)}),
    "splitwise-iso-cost-2.35": Preset({**_FIELDS, **_RATIO_2_35}, {**_ARGUMENTS, "budgets": ("cost=40xdgx-h100",)}),
}


def preset_of(name: str) -> Preset:
    """Return a preset by name.

    Raises
    ------
    UnknownNameError
        There is none, with near misses.
    """
    if name not in PRESETS:
        raise UnknownNameError.of("preset", name, PRESETS, where="preset")
    return PRESETS[name]
