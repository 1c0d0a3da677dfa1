"""Rows of a price feed: the catalogs of SkyPilot and gpuhunt, and plain CSV, as one kind of offer."""

from __future__ import annotations

import csv
import datetime
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from planner import units
from planner.errors import InputError, UnitError, near_misses
from planner.parsing import read_bytes

FeedForm = Literal["skypilot", "gpuhunt", "csv"]
FeedPlan = Literal["on_demand", "spot"]

# Columns that a form must have: SkyPilot's catalog v8 (github.com/skypilot-org/skypilot-catalog, catalogs/v8/*/vms.csv)
# and gpuhunt's catalog v2 (github.com/dstackai/gpuhunt).
_REQUIRED: dict[str, tuple[str, ...]] = {
    "skypilot": ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region"),
    "gpuhunt": ("instance_name", "location", "price", "gpu_count", "gpu_name", "spot"),
}
# Titles of plain CSV by what they mean.
_TITLES: dict[str, tuple[str, ...]] = {
    "provider": ("provider", "vendor", "cloud"),
    "instance": ("instance", "instance_name", "instance_type", "machine", "sku"),
    "accelerator": ("accelerator", "accelerator_name", "gpu", "gpu_name", "gpu_model"),
    "count": ("count", "gpu_count", "accelerator_count", "accelerators", "n_accelerators"),
    "memory_gb": ("gpu_memory", "gpu_memory_gb"),
    "price": ("price", "usd_per_hour", "price_per_hour", "on_demand"),
    "spot_price": ("spot_price",),
    "spot": ("spot", "pricing"),
    "region": ("region", "location"),
    "currency": ("currency",),
    "date": ("date", "as_of"),
}


@dataclass(frozen=True)
class FeedOffer:
    """One price of one row.

    Attributes
    ----------
    line : int
        In the file, 1-based.
    accelerator : str
        As the feed calls it; empty where the row has none.
    memory_gb : float or None
        Of one accelerator, where the feed says.
    price : str
        As written, an hour of the whole instance.
    """

    line: int
    provider: str
    instance: str
    accelerator: str
    count: float
    memory_gb: float | None
    region: str
    plan: FeedPlan
    price: str
    currency: str
    date: datetime.date

    def amount(self) -> float | None:
        """Price [currency/h]; None where it is no price that anybody asks."""
        try:
            value = float(self.price)
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None


def read_feed(
    path: Path, form: FeedForm, *, provider: str | None, date: datetime.date | None, providers: Sequence[str]
) -> tuple[list[FeedOffer], int]:
    """Read every row of a feed.

    Parameters
    ----------
    path : Path
        A file that the user downloaded.
    form : str
        skypilot, gpuhunt or csv.
    provider, date : optional
        Where the file does not say. SkyPilot and gpuhunt have a file for each provider and no date.
    providers : sequence of str
        Known ones, of which the name of the file or its folder may be one.

    Returns
    -------
    list of FeedOffer, int
        Offers in file order, and the number of rows.

    Raises
    ------
    InputError
        Not a feed of that form, or provider or date are not known; with file:line.
    """
    titles, rows = _table(path)
    lacking = [title for title in _REQUIRED.get(form, ()) if title not in titles]
    if lacking:
        raise InputError(
            f"not a {form} catalog: no column {', '.join(lacking)}", where=f"{path}:1",
            value=", ".join(titles), rule=f"{form} has {', '.join(_REQUIRED[form])}",
            fix="name another form with --from",
        )  # fmt: skip
    column = _columns_of(form, titles, path)
    if provider is None and "provider" not in column:
        provider = next((name for name in (path.stem, path.parent.name) if name.casefold() in providers), None)
        if provider is None:
            raise InputError(
                "no column says whose prices these are", where=str(path), fix="say so with --provider",
                suggestions=near_misses(path.stem, providers),
            )  # fmt: skip
    if date is None and "date" not in column:
        raise InputError(
            "no column says when these prices were valid", where=str(path),
            rule=f"a {form} catalog has no date of its own", fix="give the day of the download with --date 2026-11-20",
        )  # fmt: skip
    offers: list[FeedOffer] = []
    for line, row in rows:
        offers += _offers_of(line, row, column, form, path, provider, date)
    return offers, len(rows)


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot read the feed: {reason}", where=str(path), fix="check the path") from None
    try:
        return _rows(csv.DictReader(io.StringIO(text, newline=""), strict=True), path)
    except csv.Error as error:
        raise InputError(f"not a CSV: {error}", where=str(path), fix="download the file again") from None


def _rows(reader: csv.DictReader[str], path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    titles = [title.strip() for title in reader.fieldnames or ()]
    if len(titles) < 2:
        raise InputError("not a table with commas", where=f"{path}:1", fix="give a CSV file with a row of titles")
    twice = next((title for title in titles if title and titles.count(title) > 1), None)
    if twice is not None:
        raise InputError("two columns have one title", where=f"{path}:1", value=twice, fix="rename or delete one")
    rows: list[tuple[int, dict[str, str]]] = []
    for row in reader:
        line = reader.line_num
        if None in row or None in row.values():
            raise InputError(
                f"{len(titles)} titles, and another number of values", where=f"{path}:{line}",
                fix="mend the row, or download the file again",
            )  # fmt: skip
        rows.append((line, {key.strip(): value.strip() for key, value in row.items()}))
    return titles, rows


def _columns_of(form: FeedForm, titles: Sequence[str], path: Path) -> dict[str, str]:
    if form == "skypilot":
        named = {"instance": "InstanceType", "accelerator": "AcceleratorName", "count": "AcceleratorCount",
                 "price": "Price", "spot_price": "SpotPrice", "region": "Region"}  # fmt: skip
        return {role: title for role, title in named.items() if title in titles}
    if form == "gpuhunt":
        named = {"instance": "instance_name", "accelerator": "gpu_name", "count": "gpu_count", "price": "price",
                 "memory_gb": "gpu_memory", "spot": "spot", "region": "location"}  # fmt: skip
        return {role: title for role, title in named.items() if title in titles}
    plain = {re.sub(r"[^a-z]+", "_", title.casefold()).strip("_"): title for title in titles}
    found = {role: plain[name] for role, names in _TITLES.items() for name in reversed(names) if name in plain}
    if "price" not in found or not {"instance", "accelerator"} & set(found):
        raise InputError(
            "no column of prices, or none of instances or accelerators", where=f"{path}:1", value=", ".join(titles),
            fix=f"title them {', '.join(names[0] for names in _TITLES.values())}",
        )  # fmt: skip
    return found


def _offers_of(
    line: int, row: Mapping[str, str], column: Mapping[str, str], form: FeedForm, path: Path, provider: str | None,
    date: datetime.date | None,
) -> list[FeedOffer]:  # fmt: skip
    def cell(role: str) -> str:
        return row.get(column.get(role, ""), "")

    def offer(plan: FeedPlan, price: str) -> FeedOffer:
        return FeedOffer(
            line, provider or cell("provider").casefold(), cell("instance"), cell("accelerator"),
            _number(cell("count") or ("1" if cell("accelerator") else "0"), "count", f"{path}:{line}"),
            _number(cell("memory_gb"), "memory", f"{path}:{line}") if cell("memory_gb") else None,
            cell("region"), plan, price, cell("currency").upper() or "USD",
            date or _date(cell("date"), f"{path}:{line}"),
        )  # fmt: skip

    spot = cell("spot").casefold() in ("true", "spot", "yes", "1")
    found = [offer("spot" if spot else "on_demand", cell("price"))]
    if cell("spot_price"):
        found.append(offer("spot", cell("spot_price")))
    return [o for o in found if o.price or o is found[0]]


def _number(text: str, what: str, where: str) -> float:
    try:
        value = units.number(text)
    except UnitError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise InputError(
            f"the {what} is no number of at least 0", where=where, value=repr(text), fix="mend the cell"
        ) from None
    return value


def _date(text: str, where: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text[:10])
    except ValueError:
        raise InputError("not a date", where=where, value=repr(text), fix="write it like 2026-11-20") from None
