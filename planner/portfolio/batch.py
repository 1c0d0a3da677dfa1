"""Work with a deadline: how much arrives when, and by when it must be done."""

from __future__ import annotations

import datetime
import itertools
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic import model_validator as on_model

from planner.catalog.quantities import LargeCount, Seconds

DAY_MINUTES = 24 * 60
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


@dataclass(frozen=True)
class Moment:
    """A time of day, perhaps of a certain day."""

    minute: int
    date: datetime.date | None = None

    def __str__(self) -> str:
        clock = f"{self.minute // 60:02d}:{self.minute % 60:02d}"
        return f"{self.date.isoformat()} {clock}" if self.date else clock


def read_moment(value: object) -> Moment:
    """Read `18:00`, or `2027-03-01 18:00`.

    Raises
    ------
    ValueError
        Neither of these.
    """
    if isinstance(value, Moment):
        return value
    if isinstance(value, datetime.datetime):
        return Moment(value.hour * 60 + value.minute, value.date())
    rule = "must be a time of day like '18:00' (in quotes or not), or a date and time like '2027-03-01 18:00'"
    text = str(value).strip().replace("T", " ")
    date_text, _, clock_text = text.rpartition(" ")
    match = _CLOCK.fullmatch(clock_text)
    try:
        date = datetime.date.fromisoformat(date_text) if date_text else None
    except ValueError:
        raise ValueError(f"{rule} (got {value!r})") from None
    if not match or int(match[2]) > 59 or int(match[1]) > 24 or (int(match[1]) == 24 and int(match[2])):
        raise ValueError(f"{rule} (got {value!r})")
    minute = int(match[1]) * 60 + int(match[2])
    if minute == DAY_MINUTES:  # 24:00 is midnight at the end of the day
        return Moment(0, date + datetime.timedelta(days=1) if date else None)
    return Moment(minute, date)


def _as_list(value: object) -> object:
    some = value if isinstance(value, (list, tuple)) else (value,)
    if len(some) not in (1, 2):
        raise ValueError("must be one time, or two: from when until when requests arrive")
    return tuple(some)


_TEXT = {"type": "string", "description": "A time of day such as 18:00, or with a date: 2027-03-01 18:00."}
MomentText = Annotated[Moment, BeforeValidator(read_moment), PlainSerializer(str), WithJsonSchema(_TEXT)]


class BatchWork(BaseModel):
    """Work that comes every day and may wait until its deadline."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    requests: LargeCount = Field(description="A day, such as 50 M.")
    arrives: Annotated[tuple[MomentText, ...], BeforeValidator(_as_list)] = Field(
        default=(Moment(0),), description="Time when all of it is there; or from when until when it arrives, evenly."
    )
    deadline: MomentText | None = Field(
        default=None, description="Time by when all of it is done: the first such time after the arrivals."
    )
    within_s: Seconds | None = Field(
        default=None,
        validation_alias=AliasChoices("within_s", "within"),
        description="Time that each request may take, in place of a deadline.",
    )

    @on_model(mode="after")
    def _ends_after_it_begins(self) -> BatchWork:
        if (self.deadline is None) == (self.within_s is None):
            raise ValueError("give either a deadline (such as 06:00) or within (such as 12h)")
        if self.within_s is not None and self.within_s < 60:
            raise ValueError("within must be a minute or more; for answers at once give a rate and objectives")
        dates = {m.date is None for m in (*self.arrives, *([self.deadline] if self.deadline else []))}
        if len(dates) > 1:
            raise ValueError("give dates to all of arrives and deadline, or to none of them")
        if len(self.arrives) == 2 and _absolute(self.arrives[1]) < _absolute(self.arrives[0]) and self.arrives[1].date:
            raise ValueError(f"arrivals end ({self.arrives[1]}) before they begin ({self.arrives[0]})")
        if self.deadline is not None and self.deadline.date is not None:
            if _absolute(self.deadline) <= _absolute(self.arrives[-1]):
                raise ValueError(f"the deadline {self.deadline} is not after the arrivals ({self.arrives[-1]})")
            if _absolute(self.deadline) <= _absolute(_now()):
                raise ValueError(f"the deadline {self.deadline} is in the past (now: {_now()})")
        return self

    @property
    def is_dated(self) -> bool:
        """Whether it is one job of a certain day, not one of every day."""
        return self.arrives[0].date is not None

    def lots(self) -> list[Lot]:
        """What arrives when and by when it is due.

        Notes
        -----
        Even arrivals are cut where they would otherwise span more than half of the time that each has, at most an
        hour long; a lot counts as arrived at its end, and is due when its first request is: both on the safe side.
        """
        begin = self.arrives[0]
        if len(self.arrives) == 1:
            span, cuts = 0, [0, 0]
        else:
            span = _later(begin, self.arrives[1])
            step = 60 if self.within_s is None else max(1, min(60, int(self.within_s / 120)))
            cuts = [*range(0, span, step), span]
        found = []
        for first, last in itertools.pairwise(cuts):
            due = first + int(self.within_s or 0) // 60
            if self.deadline is not None:
                due = span + _later(self.arrives[-1], self.deadline)
            share = 1.0 if span == 0 else (last - first) / span
            window = min(due - last, DAY_MINUTES)
            found.append(Lot(self.requests * share, (begin.minute + last) % DAY_MINUTES, window))
        return found


@dataclass(frozen=True)
class Lot:
    """Requests that are there from `minute` of the day on and due `window` minutes later; at most a day."""

    requests: float
    minute: int
    window: int


def _absolute(moment: Moment) -> int:
    return moment.minute + (moment.date.toordinal() * DAY_MINUTES if moment.date else 0)


def _later(start: Moment, end: Moment) -> int:
    """Minutes from one moment to the next occurrence of another; a whole day if they are the same time of day."""
    if end.date is not None:
        return _absolute(end) - _absolute(start)
    return (end.minute - start.minute) % DAY_MINUTES or DAY_MINUTES


def _now() -> Moment:
    now = datetime.datetime.now()
    return Moment(now.hour * 60 + now.minute, now.date())
