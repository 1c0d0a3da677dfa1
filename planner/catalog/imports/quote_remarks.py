"""What remarks, and columns that have no role, say that would change a price: nothing of it is passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from planner.catalog.imports.quote_titles import plan_of
from planner.catalog.imports.quote_words import ISO_CODES
from planner.catalog.prices import TERM_MONTHS, PlanName

_COMMITS = re.compile(
    r"commit|contract|\bterm\b|reserv|bindung|vertrag|laufzeit|engagement|spot|preempt|minimum (?:period|duration)|"
    r"\bdurée\b|\bdauer\b|\blease\b|\bleasing\b",
    re.IGNORECASE,
)
_PREPAID = re.compile(
    r"\bpre-?pa(?:y|id)\w*|\bin advance\b|\bupfront\b|\bvorauszahlung|\bvorkasse|\bprépa\w*", re.IGNORECASE
)
_DENIED = re.compile(
    r"\bno(?:ne|t)?\b|\bwithout\b|\bohne\b|\bkeine?\b|\bsans\b|\baucun\w*|\bn/?a\b|\bany ?time\b|\bflexible\b"
    r"|\bmonthly\b|\bhourly\b|^\W*0?\W*$",
    re.IGNORECASE,
)
_THINGS = r"(?:nodes?|machines?|servers?|systems?|units?|instances?|knoten|maschinen|serveurs?|machines?|n[œo]e?uds?)"
_GPUS = r"(?:gpus?|accelerators?|cards?|chips?|karten|cartes?)"
_NUMBER = r"(\d{1,6}|half|two|three|four|eight|ten|sixteen|zwei|drei|vier|acht|deux|trois|quatre|huit|dix)"
_SEVERAL = re.compile(
    rf"(?<![\w.])(?:(?:for|per|of|für|pour|je|pro|par|/)\s*)?(?:an?\s+)?{_NUMBER}[\s-]?(?:x\s*)?({_THINGS}|{_GPUS})\b",
    re.IGNORECASE,
)
_LEAST = re.compile(
    rf"\b(?:from|min(?:imum|\.)?|at least|mindestens|ab|à partir de|moq)\b[^.;]{{0,20}}?\d+[\s-]?(?:x\s*)?"
    rf"(?:{_THINGS}|{_GPUS})\b|\b(?:minimum (?:order|quantity)|moq|mindestmenge|mindestbestellmenge)\b",
    re.IGNORECASE,
)
_CHANGE = re.compile(
    r"\d\s*(?:%|percent|prozent|pour ?cent)[^.;]{0,40}\b(?:off|discount|rabatt|nachlass|remise|surcharge|zuschlag|"
    r"aufschlag|uplift|more|less|increase|supplément)\w*|"
    r"\b(?:discount|rabatt|nachlass|remise|surcharge|zuschlag|aufschlag|uplift|supplément|fee|gebühr|frais|rebate|"
    r"escalat\w*|index\w*)\b[^.;]{0,40}\d|[+]\s*\d+(?:[.,]\d+)?\s*%",
    re.IGNORECASE,
)
_POWER_APART = re.compile(
    r"\b(?:plus|excl\w*\.?|without|w/o|not incl\w*|zzgl\.?|ohne|hors|sans)\s+(?:\w+\s+){0,2}?"
    r"(?:power|energy|electricity|strom\w*|énergie|électricité|colo\w*|hosting)\b",
    re.IGNORECASE,
)
_IN_CODE = re.compile(r"\b(?:in|en)\s+(" + "|".join(sorted(ISO_CODES)) + r")\b")
_WORDS = {
    "half": 0.5, "two": 2, "three": 3, "four": 4, "eight": 8, "ten": 10, "sixteen": 16, "zwei": 2, "drei": 3, "vier": 4,
    "acht": 8, "deux": 2, "trois": 3, "quatre": 4, "huit": 8, "dix": 10,
}  # fmt: skip


def doubts(
    text: str, plan: PlanName | None, currency: str | None, n_accelerators: int | None
) -> Iterator[tuple[str, str]]:
    """Why a price may not be what its own cell says, each with what to do about it.

    Parameters
    ----------
    text : str
        A remark; of a column without a role its title and the cell.
    plan : str or None
        The price plan, as far as it is known.
    currency : str or None
        Of the price.
    n_accelerators : int or None
        Of the machine.
    """
    if not text:
        return
    said = text.rpartition(": ")[2]  # without the title of a column
    if _COMMITS.search(text) and plan is not None and not _DENIED.search(said):
        named, _ = plan_of(text)
        if named is not None and named not in (plan, "on_demand"):
            yield (
                f"a remark that says {named.replace('_', ' ')}, and the price is {plan.replace('_', ' ')}",
                "add a column Plan",
            )
    if _PREPAID.search(text) and plan not in (None, "owned", *TERM_MONTHS) and not _DENIED.search(said):
        yield f"a payment in advance, and the price is {str(plan).replace('_', ' ')}", "add a column Plan"
    if _LEAST.search(text):
        yield "a remark that gives a least quantity", "add a column Minimum order, or From quantity for tiers"
    else:
        for number, thing in _SEVERAL.findall(text):
            n = _WORDS.get(number.casefold()) or float(number)
            is_accelerators = re.fullmatch(_GPUS, thing, re.IGNORECASE) is not None
            if n != ((n_accelerators or n) if is_accelerators else 1):
                yield f"a remark that says {number} {thing}", "give the price of one machine, and leave this out"
    if _CHANGE.search(text):
        yield "a remark that changes the price", "write the price that is paid, and leave this out"
    if _POWER_APART.search(text) and plan not in (None, "owned"):
        yield "power is billed beside the rent", "add it to the price, and leave this out"
    for code in _IN_CODE.findall(text):
        if currency is not None and code != currency:
            yield f"a remark that says {code}, and the price is in {currency}", "say which, and leave this out"
