"""Candidate pools made once for all that ask about the same requests, software and network.

A capacity curve does not depend on what is minimised, on prices, on budgets, or on which other pools a design allows.
So candidates are kept by the content of what they do depend on, and every verb that asks again finds them there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel

from planner.pools.candidate import Candidate, needs_end_to_end
from planner.pools.configuration import Configuration
from planner.pools.design import Design
from planner.pools.generation import Known, generate
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem

_MOST_KEPT = 12  # sets of candidates; a set of two machines is some 100 kB
_NOT_IN_CURVES = ("electricity", "price_factors", "lanes")  # of `Serving`: prices, carbon, and what is made of the rest
_kept: OrderedDict[str, Known] = OrderedDict()


def candidates_of(
    problem: Problem,
    found: Sequence[Configuration],
    top_rate_per_s: float,
    progress: Progress = quiet,
    *,
    design: Design | None = None,
    pairs: Collection[tuple[str, str]] | None = None,
    promised: Collection[tuple[str, str]] = (),
) -> list[Candidate]:
    """Every pool that the design of a problem allows, as `generate` makes them, at the prices of `found`.

    Parameters
    ----------
    problem : Problem
    found : sequence of Configuration
        Its layouts.
    top_rate_per_s : float
        Largest rate a pool could be asked to carry [requests/s].
    progress : callable
        Told what is being done.
    design : Design, optional
        In the place of the problem's.
    pairs : collection of (str, str), optional
        Prefill and decode machines that may be paired; left out: all that can reach each other.
    promised : collection of (str, str)
        Further ones, whose decode pools are promised only.
    """
    key = _digest(problem, top_rate_per_s)
    known = _kept.setdefault(key, Known())
    _kept.move_to_end(key)
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return generate(found, problem.need, design or problem.design, top_rate_per_s, progress, known, pairs, promised)


def without(candidates: Sequence[Candidate], forbidden: Collection[tuple[str, str]]) -> list[Candidate]:
    """Candidates but for those of some roles and machines; decode pools with the senders that are left."""
    kept = [c for c in candidates if (c.role, c.configuration.machine.name) not in forbidden]
    prefill = {c.key for c in kept if c.role == "prefill"}
    fed = [
        replace(c, sources=tuple(key for key in c.sources if key in prefill)) if c.role == "decode" else c for c in kept
    ]
    needed = {key for c in fed for key in c.sources}
    return [c for c in fed if c.role == "mixed" or c.sources or c.key in needed]


def forget() -> None:
    """Forget every candidate that was kept."""
    _kept.clear()


def _digest(problem: Problem, top_rate_per_s: float) -> str:
    """What capacity curves depend on, as a hash; what is not known not to matter is taken to."""
    content = hashlib.sha256(f"{problem.catalog.digest()} {top_rate_per_s!r}".encode())
    for field in fields(problem.serving):
        if field.name not in _NOT_IN_CURVES:
            _add(content, getattr(problem.serving, field.name))
    for field in fields(problem.need):
        # Within end-to-end limits a decode pool is offered what prompts that wait at this rate leave of them.
        if field.name != "rate_per_s" or needs_end_to_end(problem.need):
            _add(content, getattr(problem.need, field.name))
    return content.hexdigest()


def _add(content: Any, value: Any) -> None:
    """Add a value, with a mark of its kind and size so that no two run into each other."""
    content.update(f"|{type(value).__name__}".encode())
    if isinstance(value, np.ndarray):
        content.update(f"{value.dtype}{value.shape}".encode())
        content.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, BaseModel):
        content.update(value.model_dump_json().encode())
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _add(content, getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            _add(content, key)
            _add(content, value[key])
    elif isinstance(value, (tuple, list)):
        content.update(str(len(value)).encode())
        for one in value:
            _add(content, one)
    elif hasattr(value, "__dict__"):
        _add(content, vars(value))
    else:
        content.update(repr(value).encode())
