"""A sensitivity as text for a terminal: what the best plan would cost, whether the bought one holds, what flips it."""

from __future__ import annotations

import textwrap

from planner.export.tables.text import INDENT, aligned, labelled, load_text, number, percent, wrapped
from planner.studies.sensitivity_report import IN_THE_RENT, Flip, InputEffect, MonteCarlo, OutcomeOfError, Sensitivity
from planner.units import format_money

WIDTH = 100
_LABEL_WIDTH = 12
_TITLES = {"cost": "$/h", "power": "kW rated", "energy": "kW drawn", "machines": "machines", "carbon": "kg CO2e/h"}


def value_text(value: float, objective: str) -> str:
    """A value of an objective with its unit."""
    if objective == "cost":
        return f"{format_money(value)}/h"
    if objective in ("power", "energy"):
        return f"{value / 1e3:,.1f} kW"
    return f"{value:,.0f} machines" if objective == "machines" else f"{value:,.2f} kg CO2e/h"


def plan_value(found: Sensitivity) -> str:
    """What the plan comes to, and what of it is electricity billed beside the prices."""
    value = value_text(found.value, found.objective)
    electricity = found.electricity_usd_per_hour
    return value if electricity is None else f"{value} with {format_money(electricity)}/h of electricity"


def sensitivity_table(found: Sensitivity, *, width: int = WIDTH) -> str:
    """Return a sensitivity as text.

    Parameters
    ----------
    found : Sensitivity
    width : int
        Columns that running text may take; a table takes what it needs.
    """
    s = found.scenario
    head = (
        f"{found.design}, {found.pools}, {plan_value(found)}, for {s['model']}, {s['workload']} "
        f"at {load_text(s)}; predicted, not simulated"
    )
    blocks = [wrapped(head, width), _tornado(found, width)]
    if found.monte_carlo is not None:
        blocks.append(_monte_carlo(found.monte_carlo, found.objective, width))
    if found.flips:
        blocks.append(_flips(found.flips, found.design, width))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _tornado(found: Sensitivity, width: int) -> list[str]:
    titles = ["input", "+/-", f"{_TITLES[found.objective]} if lower", "if higher", "plan above"]
    rows = [
        [e.title, percent(e.error_fraction), _best(e.low, found), _best(e.high, found), _verdict(e)]
        for e in found.inputs
    ]
    said = (
        "One input at a time. If lower, if higher: what the best plan would be, had the input been known to differ "
        "(re-optimised). Plan above: whether what was bought still carries the load within the objectives."
    )
    if found.electricity_usd_per_hour is not None:
        said += (
            " Costs are with electricity, taken as billed beside the prices because --electricity is stated, at the "
            "expected draw; plans are chosen by the prices of machines alone."
        )
    lines = [
        *wrapped(said, width),
        "",
        *aligned(titles, rows, right=set(titles[1:4])),
    ]
    if any(_other(outcome, found) for e in found.inputs for outcome in (e.low, e.high)):
        lines += ["", f"{INDENT}* another design than the plan's"]
    lines += _remarks(found, width)
    for e in found.inputs:
        for side, outcome in (("lower", e.low), ("higher", e.high)):
            if not outcome.bought_holds:
                what = f"{e.title} {percent(e.error_fraction)} {side}: {', '.join(outcome.bought_misses)}"
                lines += labelled("Fails", what, label_width=5, width=width)
    return lines


def _remarks(found: Sensitivity, width: int) -> list[str]:
    lines = [""] if found.no_effect or any(e.note for e in found.inputs) else []
    for reason in dict.fromkeys(n.reason for n in found.no_effect):
        names = ", ".join(n.title for n in found.no_effect if n.reason == reason)
        way_out = " (where it is billed beside them, state its price: --electricity)" if reason == IN_THE_RENT else ""
        lines += labelled("No effect", f"{names}: {reason}{way_out}", label_width=9, width=width)
    for e in found.inputs:
        if e.note is not None:
            lines += labelled(
                "Range", f"{e.title} {percent(e.error_fraction)} lower: {e.note}", label_width=9, width=width
            )
    return lines


def _verdict(effect: InputEffect) -> str:
    failing = [side for side, o in (("lower", effect.low), ("higher", effect.high)) if not o.bought_holds]
    return f"fails if {' or '.join(failing)}" if failing else "holds"


def _other(outcome: OutcomeOfError, found: Sensitivity) -> bool:
    return outcome.design is not None and outcome.design != found.design


def _best(outcome: OutcomeOfError, found: Sensitivity) -> str:
    if outcome.value is None:
        return "no plan"
    value = outcome.value / 1e3 if found.objective in ("power", "energy") else outcome.value
    text = f"{value:,.0f}" if found.objective == "machines" else f"{value:,.2f}"
    return text + ("*" if _other(outcome, found) else " ")


def _monte_carlo(m: MonteCarlo, objective: str, width: int) -> list[str]:
    def say(label: str, text: str) -> list[str]:
        return labelled(label, text, label_width=_LABEL_WIDTH, width=width)

    lines = [*wrapped(f"All inputs at once: {m.draws:,} draws (seed {m.seed}), {m.distribution}.", width), ""]
    if m.value_mean is not None:
        p5, p50, p95 = (value_text(v or 0.0, objective) for v in (m.value_p5, m.value_p50, m.value_p95))
        lines += say("Best plan", f"{p5} / {p50} / {p95} (p5/p50/p95), mean {value_text(m.value_mean, objective)}")
    if m.no_plan_fraction:
        lines += say("No plan", f"in {percent(m.no_plan_fraction, 1)} of the draws")
    low, high = percent(m.bought_holds_low, 1), percent(m.bought_holds_high, 1)
    held = f"holds in {percent(m.bought_holds_fraction, 1)} of the draws (95 % interval {low} to {high})"
    verb = {"cost": "costs", "carbon": "emits"}.get(objective)
    costs = f", {verb} {value_text(m.bought_value_mean, objective)} on average" if verb else ""
    lines += say("Bought plan", held + costs)
    lines += say("Wins", ", ".join(f"{name} {percent(share, 1)}" for name, share in m.designs.items()))
    return lines


def _flips(flips: list[Flip], design: str, width: int) -> list[str]:
    lines = [*wrapped(f"What would change the decision for {design}", width), ""]
    for flip in flips:
        name = flip.input.partition(".")[2] or flip.input
        money = flip.input.startswith("price.")

        def shown(value: float, money: bool = money) -> str:
            return f"{format_money(value)}/h" if money else f"{number(value)} requests/s"

        what = f"{'price of ' if money else ''}{name}"
        if flip.at is None or flip.factor is None:
            text = f"never down to {shown(flip.now * flip.searched_to)}" if flip.direction == "lower" else (
                f"never up to {shown(flip.now * flip.searched_to)}"
            )  # fmt: skip
        else:
            side = "below" if flip.direction == "lower" else "above"
            text = f"{side} {shown(flip.at)} ({flip.factor:.3g}x): {flip.design}"
            text += f", {flip.pools}" if flip.pools else ""
        whole = f"{what}, now {shown(flip.now)}: {text}"
        lines += textwrap.wrap(
            whole, width, initial_indent=INDENT, subsequent_indent=2 * INDENT, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    lines += [
        "",
        *wrapped(
            "Prices: where two proven plans cost the same. Load: to 0.1 %, looked at 19 % apart; designs that come and "
            "go between two such loads are not seen.",
            width,
        ),
    ]
    return lines
