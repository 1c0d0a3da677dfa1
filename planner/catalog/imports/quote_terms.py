"""Times as suppliers write them, in the words that a catalog file reads."""

from __future__ import annotations

import re

_AT_ONCE = ("in stock", "ab lager", "en stock", "immediate", "immediately", "sofort", "immédiat", "now", "stock")
# The unit of a catalog file -> what it is called in English, German and French.
_UNITS = {
    "weeks": r"weeks?|wks?|wochen?|semaines?", "days": r"days?|tage?n?|jours?",
    "months": r"months?|mths?|monate?n?|mois", "years": r"years?|yrs?|jahre?n?|ans?|années?",
}  # fmt: skip


def duration_text(text: str, title: str = "") -> str:
    """Return `12 Wochen` as `12 weeks`; a bare number has the unit that the title of its column names."""
    lower = text.casefold()
    for unit, words in _UNITS.items():
        lower = re.sub(rf"\b(?:{words})\b", unit, lower)
    if re.fullmatch(r"[\d.]+", lower):
        named = [unit for unit, words in _UNITS.items() if re.search(rf"\b(?:{words})\b", title.casefold())]
        if len(named) == 1:
            lower = f"{lower} {named[0]}"
    return lower


def lead_time_text(text: str, title: str = "") -> str | None:
    """The same of a time of delivery, of `8-12 weeks` the later; None where it is in stock."""
    if text.casefold() in _AT_ONCE:
        return None
    if match := re.fullmatch(r"(\d+)\s*(?:[-–]|to|bis|à)\s*(\d+)(.*)", text):
        text = f"{match[2]}{match[3]}"
    return duration_text(text, title)
