"""Capacity planning and cost optimisation for LLM inference clusters.

>>> import planner
>>> plan = planner.optimize(slo="ttft=1s", rate="70/s")
>>> plan.cost_usd_per_hour, [(p.role, p.machine, p.count) for p in plan.pools]  # doctest: +SKIP

Public names stand in `__init__.pyi`, with their types. Each is loaded when first used, so that importing `planner`
costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner._version import __version__ as __version__

# Name -> the module that has it, as the list says: `from MODULE import NAME as NAME`, a line each.
_HOME_OF = {
    line.split()[3]: line.split()[1]
    for line in Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8").splitlines()
    if line.startswith("from planner.") and not line.endswith("__version__")
}

__all__ = sorted([*_HOME_OF, "__version__"])


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "sheet":  # a module of its own: planner.sheet.cost_per_hour(...)
        return import_module("planner.sheet")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
