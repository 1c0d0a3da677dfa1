"""Plain text for terminals: aligned columns, labelled lines and short forms of numbers."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from planner.catalog.prices import STALE_AFTER_DAYS
from planner.units import clients_text, format_number

number = format_number  # tables are full of them: the short name

INDENT = "  "
_GAP = "  "
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def aligned(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> list[str]:
    """Return a table as lines of aligned columns.

    Parameters
    ----------
    titles : sequence of str
        Title of each column.
    rows : sequence of sequence of str
        A text for each column.
    right : collection of str
        Titles of the columns that are aligned to the right, as numbers are.
    """
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = []
    for row in (titles, *rows):
        cells = [
            text.rjust(width) if title in right else text.ljust(width)
            for title, text, width in zip(titles, row, widths, strict=True)
        ]
        lines.append((INDENT + _GAP.join(cells)).rstrip())
    return lines


def fitted(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    keys: int = 1,
    width: int | None = None,
) -> list[list[str]]:
    """Return a table as one block of lines, or as several below each other where it is wider than `width`.

    Parameters
    ----------
    titles, rows, right
        As in `aligned`.
    keys : int
        First columns that name a row; every block has them.
    width : int, optional
        Columns of the terminal; left out: as many as it takes.
    """
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    blocks: list[list[int]] = []
    for column in range(keys, len(titles)):
        wanted = [*range(keys), *(blocks[-1] if blocks else ()), column]
        taken = len(INDENT) + sum(widths[c] for c in wanted) + len(_GAP) * (len(wanted) - 1)
        if blocks and (width is None or taken <= width):
            blocks[-1].append(column)
        else:
            blocks.append([column])
    return [
        aligned([titles[c] for c in shown], [[row[c] for c in shown] for row in rows], right=right)
        for shown in ([*range(keys), *block] for block in blocks)
    ]


def stacked(blocks: Iterable[Sequence[str]]) -> list[str]:
    """Return blocks of lines, such as those of `fitted`, below each other with an empty line between."""
    lines: list[str] = []
    for block in blocks:
        lines += ["", *block] if lines else block
    return lines


def labelled(label: str, text: str, *, label_width: int, width: int) -> list[str]:
    """Return `label  text` as lines no wider than `width`, the text hanging under its beginning."""
    first = f"{INDENT}{label.ljust(label_width)}{_GAP}"
    return textwrap.wrap(
        text, max(width, len(first) + 20), initial_indent=first, subsequent_indent=" " * len(first),
        break_long_words=False, break_on_hyphens=False,
    ) or [first.rstrip()]  # fmt: skip


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines no wider than `width`, continued lines indented."""
    return textwrap.wrap(text, width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)


def in_words(number: int) -> str:
    """Return a small whole number as a word: `three`; others as digits."""
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else str(number)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 machine`, `1,200 machines`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def age(date: datetime.date, today: datetime.date) -> str:
    """Return how old something of `date` is: `today`, `12 days old`, `five months old`, `three years old`."""
    days = (today - date).days
    if days < 0:
        return "dated in the future"
    if days == 0:
        return "of today"
    if days < 31:
        return f"{counted(days, 'day')} old"
    months = round(days / 30.44)
    if months < 18:
        return f"{in_words(months)} {'month' if months == 1 else 'months'} old"
    return f"{in_words(round(days / 365.25))} years old"


class Dated(Protocol):
    """A price with its dates: one of a plan, or of a purchase option."""

    @property
    def book(self) -> str: ...
    @property
    def date(self) -> datetime.date: ...
    @property
    def currency(self) -> str: ...
    @property
    def exchange_date(self) -> datetime.date | None: ...


def stale_prices(prices: Iterable[Dated], today: datetime.date) -> Iterator[str]:
    """Yield a line for each price book and exchange rate that is too old to buy by."""
    listed = list(prices)
    # The oldest price of a book speaks for it: the youngest would hide it.
    dates: dict[str, datetime.date] = {}
    for price in listed:
        subject = f"the prices of {price.book} are"
        dates[subject] = min(price.date, dates.get(subject, price.date))
    dates |= {f"the exchange rate of {p.currency} is": p.exchange_date for p in listed if p.exchange_date}
    for subject, date in dates.items():
        yield from stale(subject, date, today)


def stale(subject: str, date: datetime.date, today: datetime.date) -> Iterator[str]:
    """Yield a line if something of `date`, such as `the prices of book are`, is too old to buy by."""
    if (today - date).days > STALE_AFTER_DAYS:
        yield f"{subject} {age(date, today)} ({date.isoformat()}); ask again before you sign"


def load_text(scenario: Mapping[str, Any]) -> str:
    """The load that a scenario asked for: `30 requests/s`, or its clients."""
    clients = clients_text(*(scenario.get(name) for name in ("users", "concurrency", "think_time_s")))
    return clients or f"{number(scenario['rate_per_s'])} requests/s"


def percent(fraction: float, digits: int = 0) -> str:
    """Return `14 %`; a minus sign never stands before a zero."""
    text = f"{100.0 * fraction:,.{digits}f}"
    return f"{text.lstrip('-') if float(text.replace(',', '')) == 0 else text} %"
