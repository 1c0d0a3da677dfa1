"""A network map as text for a terminal: links of the catalog, and the bandwidth from which splitting pays."""

from __future__ import annotations

import datetime

from planner.export.tables.head import PREDICTED
from planner.export.tables.plan_basis import priced
from planner.export.tables.text import fitted, labelled, percent, stacked, wrapped
from planner.studies.network_map import WAYS, LinkBreakEven, NetworkMap, SplitPlan, TransferWay, pays
from planner.units import format_bandwidth, format_data, format_line_rate, format_money, format_power, format_time

WIDTH = 100
_LABEL = 12


def network_table(
    found: NetworkMap, today: datetime.date, *, width: int = WIDTH, table_width: int | None = None
) -> str:
    """Return a network map as text, the age of its prices counted to `today`.

    Text is wrapped at `width`; a table wider than `table_width` is divided (left out: it is as wide as it is).
    """
    lines = [line for text in headline(found) for line in wrapped(text, width)]
    titles = [
        "link on every NIC", "line rate", "achieved", "adds, serialised", "overlapped",
        "splitting, serialised", "overlapped",
    ]  # fmt: skip
    rows = [
        [
            link.fabric,
            format_line_rate(link.line_rate_bytes_per_s),
            format_bandwidth(link.achieved_bytes_per_s),
            format_time(link.serialised_s),
            format_time(link.overlapped_s),
            *(_against(getattr(link, way), found) for way in ("serialised", "overlapped")),
        ]
        for link in found.links
    ]
    lines += ["", *stacked(fitted(titles, rows, right=titles[1:], width=table_width)), ""]
    added = (
        "latency that sending the KV cache of the mean prompt adds: after it is computed (serialised), or layer by "
        "layer meanwhile (overlapped)"
    )
    against = f"{found.objective} of the best design that splits against that of the best mixed one"
    texts = [
        ("Adds", added),
        ("Splitting", against),
        *remarks(found),
        ("Proof", PREDICTED),
        *priced(found.prices, today),
    ]
    for label, text in texts:
        lines += labelled(label, text, label_width=_LABEL, width=width)
    return "\n".join(lines) + "\n"


def headline(found: NetworkMap) -> list[str]:
    """The scenario, and what crosses the network."""
    return [
        f"Does splitting pay on this network? {found.model} ({found.precision}, {found.runtime})",
        f"{found.workload} at {found.rate_per_s:g} requests/s; KV cache of a mean prompt "
        f"{format_data(found.kv_bytes_per_request)}, together "
        f"{format_bandwidth(found.kv_bytes_per_request * found.rate_per_s)} from prefill to decode machines",
    ]


def remarks(found: NetworkMap) -> list[tuple[str, str]]:
    """What is found, each with its label."""
    mixed = found.mixed
    texts = [("Mixed", _described(mixed, found) if mixed else "no design of one mixed pool serves")]
    texts += [(way.capitalize(), break_even_text(found.break_even[way], way)) for way in WAYS]
    texts.append(("Own links", _in_both_ways(found.own, found)))
    texts.append(("A tenth", "at a tenth of the machines' own bandwidth: " + _in_both_ways(found.tenth, found)))
    return texts + [("Notes", note) for note in found.notes]


def break_even_text(found: LinkBreakEven, way: TransferWay) -> str:
    """Where splitting begins to pay, in words."""
    how = "sending layer by layer" if way == "overlapped" else "sending after the prompt computation"
    if found.verdict == "never":
        return f"{how}, never pays, not even with links of unlimited bandwidth"
    if found.verdict == "always":
        return f"{how}, pays on the slowest link of this map already"
    assert found.pays_at_bytes_per_s is not None and found.not_at_bytes_per_s is not None
    return (
        f"{how}, pays from {format_line_rate(found.pays_at_bytes_per_s)} a NIC and not at "
        f"{format_line_rate(found.not_at_bytes_per_s)}"
    )


def value_text(value: float, objective: str) -> str:
    """A value of the objective with its unit."""
    if objective == "cost":
        return f"{format_money(value)}/h"
    return format_power(value) if objective == "power" else f"{value:,.0f} machines"


def _described(plan: SplitPlan, found: NetworkMap) -> str:
    return f"{value_text(plan.value, found.objective)}: {plan.pools}"


def _against(plan: SplitPlan | None, found: NetworkMap) -> str:
    if plan is None:
        return "no plan"
    if found.mixed is None:
        return value_text(plan.value, found.objective)
    change = plan.value / found.mixed.value - 1.0
    return f"{'+' if change >= 0.0005 else ''}{percent(change, 1)}"


def _in_both_ways(plans: dict[TransferWay, SplitPlan | None], found: NetworkMap) -> str:
    texts = {}
    for way in WAYS:
        plan = plans[way]
        if plan is None:
            texts[way] = "no plan meets the objectives"
        else:
            verdict = "pays" if pays(plan, found.mixed) else "does not pay"
            texts[way] = f"{_described(plan, found)} ({_against(plan, found)}, {verdict})"
    if len(set(texts.values())) == 1:
        return f"sent either way: {texts[WAYS[0]]}"
    return "; ".join(f"{way}: {text}" for way, text in texts.items())
