"""Numbers and dates as people write them, read only where they can be read in one way."""

from __future__ import annotations

import datetime
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Decimal = Literal["point", "comma"]

_NUMBER = re.compile(r"[+-]?\d(?:[\d.,'’ ]*\d)?(?:[eE][+-]?\d+(?!\w))?|[+-]?[.,]\d+")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([ '’])\d{3})(?:\1\d{3})*(?=[.,]|$)")


@dataclass(frozen=True)
class WrittenNumber:
    """A number in a text.

    Attributes
    ----------
    before, after : str
        The text around it.
    written : str
    as_point, as_comma : float or None
        Its value with a decimal point, and with a decimal comma; None where it is no such number.
    """

    before: str
    after: str
    written: str
    as_point: float | None
    as_comma: float | None

    @property
    def says(self) -> Decimal | None:
        """Which of the two it must be; None where both give a value, or the same."""
        if self.as_point == self.as_comma:
            return None
        if self.as_comma is None:
            return "point"
        return "comma" if self.as_point is None else None

    def value(self, decimal: Decimal) -> float | None:
        """Its value; None where it is no number of that kind."""
        return self.as_point if decimal == "point" else self.as_comma


def find_number(text: str) -> WrittenNumber | None:
    """Find the only number of a text.

    Returns
    -------
    WrittenNumber or None
        None where there is no number, or more than one.
    """
    plain = unicodedata.normalize("NFKC", text).replace("\u2009", " ").replace("\u202f", " ")
    found = [m for m in _NUMBER.finditer(plain) if not _is_part_of_word(plain, m)]
    if len(found) != 1:
        return None
    match = found[0]
    written = match[0].strip()
    return WrittenNumber(
        plain[: match.start()], plain[match.end() :], written, _value(written, ".", ","), _value(written, ",", ".")
    )


def _is_part_of_word(text: str, match: re.Match[str]) -> bool:
    """Whether the digits belong to a word such as H100, or to `'000`, which is none of the numbers."""
    before = text[: match.start()]
    return bool(re.search(r"[A-Za-z_]$|['’`]$", before)) and match[0].lstrip("+-")[:1].isdigit()


def _value(written: str, decimal: str, group: str) -> float | None:
    text, exponent = (*re.split("[eE]", written, maxsplit=1), "")[:2]
    if match := _GROUPED.match(text):
        text = re.sub(r"[ '’]", "", match[0]) + text[match.end() :]
        if group in text:
            return None  # two kinds of groups
    whole, point, part = text.partition(decimal)
    if decimal in part or group in part or re.search(r"[ '’]", text):
        return None
    if group in whole and not re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(?:\{group}\d{{3}})+", whole):
        return None
    digits = whole.replace(group, "") or "0"
    if digits in "+-":
        digits += "0"
    try:
        return float(f"{digits}{'.' if point else ''}{part}{'e' + exponent if exponent else ''}")
    except ValueError:
        return None


_MONTHS = {
    name: n
    for n, names in enumerate(
        (
            "jan january januar janvier janv jän jänner", "feb february februar février fevrier févr fevr",
            "mar march märz maerz mars mrz", "apr april avril avr", "may mai", "jun june juni juin",
            "jul july juli juillet juil", "aug august août aout", "sep sept september septembre",
            "oct october okt oktober octobre", "nov november novembre", 
            "dec december dez dezember décembre decembre déc",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_ISO = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
_BASIC = re.compile(r"(20\d{2})(\d{2})(\d{2})")
_DOTTED = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d{2})")
_EITHER = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})")
_DAY_FIRST = re.compile(
    r"(?:\w+,\s*)?(\d{1,2})(?:st|nd|rd|th|er|\.)?[\s-]+(?:of\s+|de\s+)?([^\W\d_]+)\.?,?[\s-]+(\d{4})"
)
_MONTH_FIRST = re.compile(r"(?:\w+,\s*)?([^\W\d_]+)\.?[\s-]+(\d{1,2})(?:st|nd|rd|th)?,?[\s-]+(\d{4})")
# Days of a spreadsheet that lie in 2010 to 2049.
_SERIALS = (40179, 54788)
AMBIGUOUS = "day and month could be either way round"


def read_date(
    value: object, *, epoch: datetime.date = datetime.date(1899, 12, 30)
) -> tuple[datetime.date | None, str | None]:
    """Read a date that can be read in one way only.

    Parameters
    ----------
    value : object
        Text, a date, or the number of days that a spreadsheet keeps.
    epoch : date
        Its day 0.

    Returns
    -------
    date or None, str or None
        The date; else None and the rule it breaks, if there is one to tell.
    """
    if isinstance(value, datetime.datetime):
        return value.date(), None
    if isinstance(value, datetime.date):
        return value, None
    if isinstance(value, bool):
        return None, None
    if isinstance(value, int | float):
        return _of_number(float(value), epoch)
    text = " ".join(unicodedata.normalize("NFKC", str(value)).split()).strip(" .,;")
    if re.fullmatch(r"\d{5}(?:\.\d+)?", text):
        return _of_number(float(text), epoch)
    if match := _ISO.fullmatch(text) or _BASIC.fullmatch(text):
        return _date(match[1], match[2], match[3]), None
    if match := _DOTTED.fullmatch(text):
        year = match[3] if len(match[3]) == 4 else f"20{match[3]}"
        return _date(year, match[2], match[1]), None
    if match := _EITHER.fullmatch(text):
        first, second = _date(match[3], match[2], match[1]), _date(match[3], match[1], match[2])
        if first and second and first != second:
            return None, AMBIGUOUS
        return first or second, None
    if match := _DAY_FIRST.fullmatch(text):
        return _named(match[3], match[2], match[1]), None
    if match := _MONTH_FIRST.fullmatch(text):
        return _named(match[3], match[1], match[2]), None
    return None, None


def _of_number(value: float, epoch: datetime.date) -> tuple[datetime.date | None, str | None]:
    if _SERIALS[0] <= value <= _SERIALS[1]:
        return epoch + datetime.timedelta(days=int(value)), None
    if match := _BASIC.fullmatch(f"{value:.0f}"):
        return _date(match[1], match[2], match[3]), None
    return None, None


def _named(year: str, month: str, day: str) -> datetime.date | None:
    number = _MONTHS.get(month.casefold())
    return None if number is None else _date(year, str(number), day)


def _date(year: str, month: str, day: str) -> datetime.date | None:
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None
