"""Designs: named rules for which machine types may take which role."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import ScenarioError, UnknownNameError

# The letters of the Splitwise paper, for its machines.
LETTERS = {"A": "dgx-a100", "H": "dgx-h100", "Hcap": "dgx-h100-cap"}
SHORT_NAMES = {"a100": "dgx-a100", "h100": "dgx-h100", "h100-cap": "dgx-h100-cap"}
GENERAL = ("auto", "baseline", "splitwise")
PAPER = ("Baseline-A100", "Baseline-H100", "Splitwise-AA", "Splitwise-HH", "Splitwise-HA", "Splitwise-HHcap")


@dataclass(frozen=True)
class Design:
    """Which pools a plan may have.

    Attributes
    ----------
    name : str
        As given.
    mixed, split : bool
        Whether pools that do both phases, and pools of one phase, are allowed.
    prefill_machine, decode_machine : str or None
        The only machine allowed in that role; a baseline's machine is in both. None: any.
    """

    name: str
    mixed: bool
    split: bool
    prefill_machine: str | None = None
    decode_machine: str | None = None

    @property
    def machines(self) -> tuple[str, ...]:
        """Machines that the design names, each once."""
        named = (self.prefill_machine, self.decode_machine)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def parse_design(text: str, known_machines: Sequence[str], *, where: str = "--design") -> Design:
    """Read a design.

    `auto` (anything), `baseline` (mixed pools only), `splitwise` (split pools only), `Baseline-<machine>`,
    `Splitwise-<prefill><decode>` in the paper's letters (A, H, Hcap), or `Splitwise-<machine>+<machine>`.

    Raises
    ------
    UnknownNameError
        No such design or machine, with near misses.
    """
    folded = text.strip().casefold()
    if folded == "auto":
        return Design("auto", True, True)
    if folded == "baseline":
        return Design("baseline", True, False)
    if folded == "splitwise":
        return Design("splitwise", False, True)
    if folded.startswith("baseline-"):
        machine = _machine(folded.removeprefix("baseline-"), known_machines, where)
        return Design(design_name(machine, None), True, False, machine, machine)
    if folded.startswith("splitwise-"):
        rest = folded.removeprefix("splitwise-")
        if "+" in rest:
            prefill, decode = (_machine(part, known_machines, where) for part in rest.split("+", 1))
            return Design(design_name(prefill, decode), False, True, prefill, decode)
        letters = re.fullmatch(r"(hcap|h|a)(hcap|h|a)", rest)
        if letters:
            folded_letters = {k.casefold(): v for k, v in LETTERS.items()}
            prefill, decode = folded_letters[letters[1]], folded_letters[letters[2]]
            return Design(design_name(prefill, decode), False, True, prefill, decode)
    raise UnknownNameError.of("design", text, (*GENERAL, *PAPER), where=where)


def design_name(prefill_machine: str, decode_machine: str | None) -> str:
    """Name of the design with these machines; `decode_machine` None means a mixed pool."""
    if decode_machine is None:
        short = {v: k.upper().replace("CAP", "cap") for k, v in SHORT_NAMES.items()}
        return f"Baseline-{short.get(prefill_machine, prefill_machine)}"
    letters = {v: k for k, v in LETTERS.items()}
    if prefill_machine in letters and decode_machine in letters:
        return f"Splitwise-{letters[prefill_machine]}{letters[decode_machine]}"
    return f"Splitwise-{prefill_machine}+{decode_machine}"


def _machine(name: str, known: Sequence[str], where: str) -> str:
    by_folded = {k.casefold(): k for k in known}
    found = by_folded.get(name) or by_folded.get(SHORT_NAMES.get(name, ""))
    if found is None:
        if not name:
            raise ScenarioError("a design needs a machine", where=where, fix="write it like Baseline-dgx-h100")
        raise UnknownNameError.of("machine", name, known, where=where)
    return found
