"""What the tables of all studies say in the same words: objectives, proof, trust and notes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.plan_basis import priced
from planner.export.tables.text import labelled, percent, wrapped
from planner.planning.record import NOT_SIMULATED
from planner.studies.head import Head
from planner.workload.objectives import parse_objective

PREDICTED = f"predicted, {NOT_SIMULATED}"


def objectives_of(found: Head, besides: str = "") -> str:
    """The objectives of a result, but for the one that is an axis."""
    objectives = [parse_objective(str(text)) for text in found.scenario.get("slo", ())]
    return ", ".join(f"{o.label} <= {o.limit_label}" for o in objectives if str(o).partition("=")[0] != besides)


def objectives_lines(found: Head, width: int, besides: str = "") -> list[str]:
    """The same as a line of their own; none where there are none."""
    text = objectives_of(found, besides)
    return wrapped(f"Objectives: {text}", width) if text else []


def trusted(found: Head, today: datetime.date) -> Iterator[tuple[str, str]]:
    """How far a result may be trusted, and its notes, each with its label."""
    source = "measured" if found.scenario.get("profile") else "modelled"
    texts = [PREDICTED] if found.verified == NOT_SIMULATED else []
    if found.step_time_error is not None:
        texts.append(f"{source} step times +/- {percent(found.step_time_error)}")
    texts += [f"prices {books}" for _, books in priced(found.prices, today)]
    yield "Trust", "; ".join(texts)
    for n, note in enumerate(found.notes):
        yield "" if n else "Notes", note


def remarks(texts: Iterator[tuple[str, str]], label_width: int, width: int) -> list[str]:
    """Labelled texts as lines."""
    return [line for label, text in texts for line in labelled(label, text, label_width=label_width, width=width)]
