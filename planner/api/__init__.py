"""What a notebook, a sheet or the command line calls."""

from planner.api.judgements import cost, robustness
from planner.api.maps import network_map, provisioning_map, regime_map
from planner.api.plans import evaluate, optimize, procure, simulate

__all__ = [
    "cost", "evaluate", "network_map", "optimize", "procure", "provisioning_map", "regime_map", "robustness",
    "simulate",
]  # fmt: skip
