"""Designs by name, and the names of designs."""

from __future__ import annotations

import pytest

from planner.errors import InputError, UnknownNameError
from planner.pools.design import PAPER, design_name, parse_design

KNOWN = ["dgx-a100", "dgx-h100", "dgx-h100-cap", "dgx-b200", "a+b"]


@pytest.mark.parametrize(
    ("text", "mixed", "split", "prefill", "decode"),
    [
        ("auto", True, True, None, None),
        ("Baseline", True, False, None, None),
        ("SPLITWISE", False, True, None, None),
        ("Baseline-A100", True, False, "dgx-a100", "dgx-a100"),
        ("baseline-h100-cap", True, False, "dgx-h100-cap", "dgx-h100-cap"),
        ("Baseline-dgx-b200", True, False, "dgx-b200", "dgx-b200"),
        ("Splitwise-HA", False, True, "dgx-h100", "dgx-a100"),
        ("splitwise-hhcap", False, True, "dgx-h100", "dgx-h100-cap"),
        ("Splitwise-HcapH", False, True, "dgx-h100-cap", "dgx-h100"),
        ("Splitwise-dgx-b200+dgx-a100", False, True, "dgx-b200", "dgx-a100"),
        (" auto ", True, True, None, None),
    ],
)
def test_designs_are_read(text: str, mixed: bool, split: bool, prefill: str | None, decode: str | None) -> None:
    design = parse_design(text, KNOWN)
    assert (design.mixed, design.split) == (mixed, split)
    assert (design.prefill_machine, design.decode_machine) == (prefill, decode)
    assert set(design.machines) == {name for name in (prefill, decode) if name}


@pytest.mark.parametrize("name", PAPER)
def test_names_of_the_paper_are_read_back(name: str) -> None:
    design = parse_design(name, KNOWN)
    assert design.prefill_machine is not None
    assert design_name(design.prefill_machine, design.decode_machine if design.split else None) == name
    assert design.name == name


@pytest.mark.parametrize("pair", [("dgx-b200", "dgx-a100"), ("dgx-h100", "dgx-b200"), ("dgx-a100", "dgx-h100")])
def test_names_of_other_pairs_are_read_back(pair: tuple[str, str]) -> None:
    design = parse_design(design_name(*pair), KNOWN)
    assert (design.prefill_machine, design.decode_machine) == pair


@pytest.mark.parametrize(
    ("text", "near"),
    [("Splitwise-XX", "Splitwise-HH"), ("splitwize", "splitwise"), ("Baseline-H10", "dgx-h100"), ("automatic", "auto")],
)
def test_unknown_designs_offer_near_ones(text: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse_design(text, KNOWN, where="--design")
    assert caught.value.where == "--design"
    assert near in caught.value.suggestions


@pytest.mark.parametrize("text", ["", "Baseline-", "Splitwise-", "Splitwise-+", "Splitwise-dgx-h100+", "-"])
def test_what_is_no_design(text: str) -> None:
    with pytest.raises(InputError):
        parse_design(text, KNOWN)
