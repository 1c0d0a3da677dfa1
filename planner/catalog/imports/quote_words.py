"""What the words around a price mean: currency, time, machine or accelerator, thousands, tax. None is passed over.

English, German and French, as suppliers write them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Per = Literal["machine", "accelerator"]

# Hours of the times that prices are given for; `once` is a purchase.
PERIOD_HOURS = {"h": 1.0, "day": 24.0, "week": 168.0, "month": 730.0, "year": 8760.0}
PERIODS = (*PERIOD_HOURS, "once")

_SIGNED = (
    (r"(?:US|U\.S\.)\s?\$|\$\s?US\b", "USD"), (r"\b(?:CAN|CDN|CA|C)\s?\$", "CAD"), (r"\b(?:AUD|AU|A)\s?\$", "AUD"),
    (r"\bNZ\s?\$", "NZD"), (r"\bHK\s?\$", "HKD"), (r"\b(?:SG|S)\s?\$", "SGD"), (r"\bNT\s?\$", "TWD"),
    (r"\bR\s?\$", "BRL"), (r"\b(?:MEX|MX)\s?\$", "MXN"), (r"\bUS[- ]?dollars?\b", "USD"), (r"\beuros?\b", "EUR"),
    (r"\bpounds? sterling\b", "GBP"), (r"(?<![A-Za-z])\$", "USD"), (r"€", "EUR"), (r"£", "GBP"), (r"₹", "INR"),
    (r"₩", "KRW"), (r"\bSFr\.?", "CHF"),
)  # fmt: skip
# ISO 4217: other capitals, such as GPU or VAT, are no currency.
ISO_CODES = frozenset(
    [
        "AED",
        "ARS",
        "AUD",
        "BGN",
        "BHD",
        "BRL",
        "CAD",
        "CHF",
        "CLP",
        "CNY",
        "COP",
        "CZK",
        "DKK",
        "EGP",
        "EUR",
        "GBP",
        "HKD",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "ISK",
        "JPY",
        "KES",
        "KRW",
        "KWD",
        "MAD",
        "MXN",
        "MYR",
        "NGN",
        "NOK",
        "NZD",
        "OMR",
        "PEN",
        "PHP",
        "PKR",
        "PLN",
        "QAR",
        "RON",
        "RSD",
        "SAR",
        "SEK",
        "SGD",
        "THB",
        "TND",
        "TRY",
        "TWD",
        "UAH",
        "USD",
        "UYU",
        "VND",
        "ZAR",
    ]
)
_LOWER_CODES = ("usd", "eur", "gbp", "chf", "cad", "aud", "jpy", "sek", "nok", "dkk", "pln", "inr", "cny", "sgd")
_CODE = re.compile(r"(?<![A-Za-z])(?:" + "|".join([*sorted(ISO_CODES), *_LOWER_CODES]) + r")(?![A-Za-z])")

_THOUSAND = re.compile(
    r"(?<![\w])(?:k|K|T)\s?(?=US\$|[$€£])|(?<![A-Za-z])[kKT](?=(?:USD|EUR|GBP|CHF|CAD|AUD)\b)"
    r"|(?<=[$€£])\s?[kK](?![A-Za-z])|['’`]000['’]?s?(?!\w)|(?<![\w.,])000s?(?!\w)|(?<![A-Za-z])[kK](?=\s|$|/|\))"
    r"|\b(?:in\s+)?(?:thousands?|tausend|milliers?)(?:\s+(?:of|de))?\b|\btsd\b\.?",
)
_MILLION = re.compile(
    r"(?<![\w])M\s?(?=US\$|[$€£])|(?<![A-Za-z])M(?=(?:USD|EUR|GBP|CHF|CAD|AUD)\b)|(?<=[$€£])\s?M(?![A-Za-z])"
    r"|(?<![A-Za-z])M(?=\s+(?:USD|EUR|GBP|CHF|CAD|AUD|[$€£]))|\b(?:in\s+)?millions?(?:\s+(?:of|de))?\b|\bmio\b\.?",
)
_TAX = r"(?:v\.?a\.?t\.?|sales tax|tax(?:es)?|gst|mwst\.?|ust\.?|tva|taxes?)"
_NET = re.compile(
    rf"\b(?:excl(?:uding|usive of|\.)?|ex\.?|exkl\.?|before|without|w/o|plus|ohne|zzgl\.?|hors|\+)\s*(?:of\s+)?{_TAX}"
    r"(?!\w)|\+\s*(?:vat|mwst|tva)\b|\b(?:net|netto|nett|hors taxes?|ht|h\.t\.)(?![\w])",
    re.IGNORECASE,
)
_GROSS = re.compile(
    rf"\b(?:incl(?:uding|usive of|\.)?|inkl\.?|with|mit|avec|toutes taxes comprises)\s*(?:of\s+)?(?:{_TAX})?(?!\w)"
    rf"|\b(?:gross|brutto|ttc|t\.t\.c\.|{_TAX} (?:included|incl\.?|comprises?))(?!\w)",
    re.IGNORECASE,
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ACCELERATOR = _set(
    "gpu gpus accelerator accelerators accel card cards chip chips karte karten grafikkarte carte cartes tpu tpus "
    "beschleuniger accélérateur accélérateurs"
)
_MACHINE = _set(
    "machine machines server servers node nodes instance instances system systems box boxes host hosts vm vms unit "
    "units each ea pc pcs piece pieces pce maschine maschinen systeme knoten stück stueck stk st einheit serveur "
    "serveurs nœud nœuds noeud noeuds pièce pièces unité unités dgx hgx"
)
_TIME: dict[str, str] = {
    **dict.fromkeys(_set("h hr hrs hour hours hourly std stunde stunden stündlich heure heures horaire hrly"), "h"),
    **dict.fromkeys(_set("d day days daily tag tage täglich jour jours"), "day"),
    **dict.fromkeys(_set("w wk week weeks weekly woche wochen wöchentlich semaine semaines hebdomadaire"), "week"),
    **dict.fromkeys(
        _set("mo mos mth mths month months monthly monat monate monatlich mtl mois mensuel mensuelle"), "month"
    ),
    **dict.fromkeys(
        _set("y yr yrs year years yearly annual annually annum jahr jahre jährlich pa an année annuel annuelle"), "year"
    ),
    **dict.fromkeys(_set("once einmalig onetime"), "once"),
}
_FILLERS = _set("per a pro par je the of in and und et for pour für as de la le l x 1 one")
_COMPOUND = re.compile(
    r"\b(gpu|node|server|instance|accelerator|machine|card|chip)[-_ ]?"
    r"(h|hr|hrs|hour|hours|day|days|month|months|year)\b",
    re.IGNORECASE,
)
_ONE_TIME = re.compile(r"\bone[- ](?:time|off)\b", re.IGNORECASE)
_PER_YEAR = re.compile(r"\bp\.\s?a\.?(?!\w)|(?<=/)\s*a\b(?!\s*\w)|\bpar an\b|\bper annum\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+|[^\w\s]", re.UNICODE)
_IGNORED_MARKS = frozenset("/()[]{}.,:;-–—·•\"'’`&|_")


@dataclass(frozen=True)
class Saying:
    """What a text says of a price; None where it says nothing.

    Attributes
    ----------
    currency : str or None
        ISO 4217.
    period : str or None
        `h`, `day`, `week`, `month`, `year` or `once`.
    per : str or None
        `machine` or `accelerator`.
    multiple : float or None
        1,000 or 1,000,000.
    is_gross : bool
        Whether tax is in it.
    unknown : tuple of str
        Words and marks that are none of these, and what contradicts itself.
    """

    currency: str | None = None
    period: str | None = None
    per: Per | None = None
    multiple: float | None = None
    is_gross: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def says_something(self) -> bool:
        """Whether it names any of them."""
        return any((self.currency, self.period, self.per, self.multiple, self.is_gross))


def say(text: str, accelerators: frozenset[str] = frozenset()) -> Saying:
    """Read the words around a price.

    Parameters
    ----------
    text : str
        Without the number: `USD/GPU/h`, `€ pro Stunde`, `k USD`.
    accelerators : frozenset of str
        Further words for an accelerator, such as `h100`, in lower case.
    """
    left = text.replace("\u00a0", " ").replace("\u202f", " ")
    unknown: list[str] = []
    gross = bool(_GROSS.search(_NET.sub(" ", left)))
    left = _GROSS.sub(" ", _NET.sub(" ", left)) if gross else _NET.sub(" ", left)
    multiples = set()
    for pattern, factor in ((_THOUSAND, 1e3), (_MILLION, 1e6)):
        if pattern.search(left):
            multiples.add(factor)
            left = pattern.sub(" ", left)
    currencies = []
    for sign, code in _SIGNED:
        if re.search(sign, left, re.IGNORECASE if "dollar" in sign or "euro" in sign else 0):
            currencies.append(code)
            left = re.sub(sign, " ", left, flags=re.IGNORECASE)
    currencies += [code.upper() for code in _CODE.findall(left)]
    left = _CODE.sub(" ", left)
    periods, pers = [], []
    if _PER_YEAR.search(left):
        periods.append("year")
        left = _PER_YEAR.sub(" ", left)
    left = _ONE_TIME.sub(" once ", _COMPOUND.sub(r"\1 \2", left))
    for word in _WORD.findall(left.casefold()):
        if word in _TIME:
            periods.append(_TIME[word])
        elif word in _ACCELERATOR or word in accelerators:
            pers.append("accelerator")
        elif word in _MACHINE:
            pers.append("machine")
        elif word not in _FILLERS and word not in _IGNORED_MARKS:
            unknown.append(word)
    unknown += _contradictions("currencies", currencies) + _contradictions("times", periods)
    unknown += _contradictions("units", pers) + (["thousand and million"] if len(multiples) > 1 else [])
    return Saying(
        currencies[0] if currencies else None, periods[0] if periods else None,
        pers[0] if pers else None,  # type: ignore[arg-type]
        multiples.pop() if len(multiples) == 1 else None, gross, tuple(unknown),
    )  # fmt: skip


def _contradictions(what: str, found: list[str]) -> list[str]:
    some = list(dict.fromkeys(found))
    return [f"two {what}: {' and '.join(some)}"] if len(some) > 1 else []


_PER_ACCELERATOR = re.compile(
    r"(?:\bper|/|\ban?|\bpro|\bpar|\bje|\beach)\s*(?:" + "|".join(sorted(_ACCELERATOR, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)
_IN_THOUSANDS = re.compile(
    r"\bin\s+(?:thousands?|tausend|milliers?)|['’]000|\b(?:TEUR|kEUR|kUSD|TUSD)\b|\b[kT]€", re.IGNORECASE
)


def said_aside(text: str) -> Saying:
    """What a remark says of a price: only what would change it, not the rest of its words."""
    return Saying(
        per="accelerator" if _PER_ACCELERATOR.search(text) else None,
        multiple=1e3 if _IN_THOUSANDS.search(text) else None,
        is_gross=bool(
            _GROSS.search(_NET.sub(" ", text)) and re.search(_TAX + r"(?!\w)|brutto|ttc|gross", text, re.IGNORECASE)
        ),
    )


def shown(saying: Saying) -> str:
    """What a unit is called in a message: `USD an accelerator and h`."""
    parts = [saying.currency or "", "" if saying.per is None else f"per {saying.per}", saying.period or ""]
    return " ".join(part for part in parts if part)
