"""Price books out of a feed: whose machine each row is, which rows count, and what becomes of every other."""

from __future__ import annotations

import datetime
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.catalog.catalog import Catalog
from planner.catalog.imports.feed_rows import FeedOffer, FeedPlan
from planner.catalog.prices import RENTED, PriceBook
from planner.catalog.schema import Currency, Machine
from planner.errors import InputError, near_misses

JUMP = 0.30  # a price that moves by more is looked at first
STALE_DAYS = 365
_MEMORY_TOLERANCE = 0.12  # drivers report less than is sold


@dataclass(frozen=True)
class Fate:
    """What became of one offer of a feed."""

    line: int
    instance: str
    region: str
    plan: FeedPlan
    price: str
    fate: str
    detail: str

    def to_record(self) -> dict[str, object]:
        """Return it as one flat JSON-ready record."""
        return dict(vars(self))


@dataclass
class Feed:
    """What a feed comes to.

    Attributes
    ----------
    prices : dict
        (plan, machine) -> amount [currency/h].
    fates : list of Fate
        One for each offer, in file order.
    """

    provider: str
    date: datetime.date
    currency: str
    region: str | None
    prices: dict[tuple[FeedPlan, str], float] = field(default_factory=dict)
    fates: list[Fate] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Number of offers by what became of them."""
        return dict(Counter(fate.fate for fate in self.fates))


def settle(
    offers: Sequence[FeedOffer],
    catalog: Catalog,
    *,
    region: str | None,
    machine_map: Mapping[str, str],
    accept_jumps: bool = False,
    accept_stale: bool = False,
    where: str,
) -> Feed:
    """Match every offer with a machine and decide what becomes of it.

    Parameters
    ----------
    offers : sequence of FeedOffer
        Of one provider, date and currency.
    catalog : Catalog
    region : str, optional
        Of which prices are taken; needed where they differ between regions.
    machine_map : mapping
        What the feed calls an instance -> machine of the catalog.
    accept_jumps, accept_stale : bool
        Take prices that moved by over 30 %, or that are over a year older than the newest of the catalog.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        A region, currency or machine that does not exist, several providers or dates, or two prices for one thing.
    """
    first = _one_of_each(offers, where)
    _check_currency(first, catalog, where)
    for theirs, ours in machine_map.items():
        catalog.machine(ours, where=f"--machine-map {theirs}")
    wanted = _region(offers, region, where)
    feed = Feed(first.provider, first.date, first.currency, wanted)
    newest = _newest(catalog)
    stale = newest is not None and (newest - first.date).days > STALE_DAYS and not accept_stale
    taken: dict[tuple[FeedPlan, str], list[FeedOffer]] = defaultdict(list)
    for offer in offers:
        fate, detail = _first_look(offer, wanted)
        machine = ""
        if not fate:
            machine, detail = _match(offer, catalog, machine_map)
            fate = "" if machine else "unmapped"
        if not fate and stale:
            fate, detail = "stale", f"of {offer.date}, a year older than the newest price of the catalog, {newest}"
        if not fate:
            fate, detail = _jump(offer, machine, catalog, accept_jumps)
        if not fate:
            others = taken[offer.plan, machine]
            fate, detail = _duplicate(offer, others, machine, where)
            others.append(offer)
            feed.prices[offer.plan, machine] = max(float(o.price) for o in others)
        feed.fates.append(Fate(offer.line, offer.instance, offer.region, offer.plan, offer.price, fate, detail))
    return feed


def _one_of_each(offers: Sequence[FeedOffer], where: str) -> FeedOffer:
    if not offers:
        raise InputError("this feed has no rows", where=where, fix="download it again")
    first = offers[0]
    for offer in offers:
        for what in ("provider", "date", "currency"):
            if getattr(offer, what) != getattr(first, what):
                raise InputError(
                    f"a second {what}, {getattr(offer, what)}, beside {getattr(first, what)}",
                    where=f"{where}:{offer.line}", rule="a price book is one provider, date and currency",
                    fix=f"divide the file by {what}",
                )  # fmt: skip
    return first


def _check_currency(offer: FeedOffer, catalog: Catalog, where: str) -> None:
    code = offer.currency
    if code != "USD" and not catalog.files_of(Currency, code):
        raise InputError(
            f"prices in {code}, and the catalog has no rate to turn it into USD", where=f"{where}:{offer.line}",
            value=code, suggestions=near_misses(code, ["USD", *catalog.names(Currency)]),
            fix=f"add currencies/{code}.yaml to an overlay, or mend the column",
        )  # fmt: skip


def _region(offers: Sequence[FeedOffer], region: str | None, where: str) -> str | None:
    regions = sorted({offer.region for offer in offers if offer.region and offer.accelerator})
    if region is not None:
        if region not in regions:
            raise InputError(
                f"no row is of region {region!r}", where="--region", value=region,
                suggestions=near_misses(region, regions), fix=f"one of {', '.join(regions) or 'none: leave it out'}",
            )  # fmt: skip
        return region
    prices: dict[tuple[str, str], set[str]] = defaultdict(set)
    for offer in offers:
        if offer.accelerator and offer.plan == "on_demand":
            prices[offer.instance, offer.plan].add(offer.price)
    if len(regions) > 1 and any(len(found) > 1 for found in prices.values()):
        raise InputError(
            f"prices differ between the {len(regions)} regions of this feed", where=where, value=", ".join(regions),
            rule="a price book is of one region", fix=f"name one: --region {regions[0]}",
        )  # fmt: skip
    return regions[0] if len(regions) == 1 else None


def _newest(catalog: Catalog) -> datetime.date | None:
    dates = []
    for name in catalog.names(PriceBook):
        book, _ = catalog.check(PriceBook, name)
        if book is not None and book.default:
            dates += [book.date_of(plan, machine) for plan, machine in book.listed() if plan in RENTED]
    return max(dates, default=None)


def _first_look(offer: FeedOffer, region: str | None) -> tuple[str, str]:
    if not offer.accelerator or offer.count <= 0:
        return "no accelerator", "a machine without accelerators serves no model here"
    if region is not None and offer.region != region:
        return "other region", f"prices of {region} are taken"
    if offer.count != int(offer.count):
        return "unmapped", f"{offer.count:g} of an accelerator: parts of one are not planned with"
    if offer.amount() is None:
        what = repr(offer.price) if offer.price else "none"
        return "no price", f"a price of {what} is no offer; delete the row or mend it"
    return "", ""


def _match(offer: FeedOffer, catalog: Catalog, machine_map: Mapping[str, str]) -> tuple[str, str]:
    """Machine of an offer, or none and why: by the user's word, by provider and instance, by accelerator and count."""
    count = int(offer.count)
    if offer.instance in machine_map:
        return _counted(catalog.machine(machine_map[offer.instance]), count)
    name = _plain(f"{offer.provider}-{offer.instance.casefold().removeprefix('standard_')}")
    known = {_plain(machine): machine for machine in catalog.names(Machine)}
    if name in known:
        return _counted(catalog.machine(known[name]), count)
    here = [m for m in map(catalog.machine, catalog.names(Machine)) if m.site == offer.provider]
    fitting = sorted(m.name for m in here if m.n_accelerators == count and _is_chip(offer, m, catalog))
    if len(fitting) == 1:
        return fitting[0], ""
    if fitting:
        return (
            "",
            f"several machines hold {count} x {offer.accelerator}: {', '.join(fitting)}; say which with --machine-map",
        )
    return "", f"no machine of {offer.provider} in the catalog holds {count} x {offer.accelerator}"


def _counted(machine: Machine, count: int) -> tuple[str, str]:
    if machine.n_accelerators == count:
        return machine.name, ""
    return "", f"{machine.name} has {machine.n_accelerators} accelerators in the catalog, and {count} in the feed"


def _is_chip(offer: FeedOffer, machine: Machine, catalog: Catalog) -> bool:
    """Whether a machine's accelerator is what the feed calls `A100-80GB` or `A100` of 80 GB."""
    chip = catalog.accelerator_of(machine)
    text = offer.accelerator.casefold()
    size = re.search(r"(\d+)\s*gb", text)
    said_gb = offer.memory_gb or (float(size[1]) if size else None)
    words = [
        w for w in re.split(r"[^a-z0-9]+", re.sub(r"\d+\s*gb", "", text)) if w and w not in ("nvidia", "amd", "tesla")
    ]
    parts = chip.name.split("-")
    if not words or words[0] != parts[0] or not set(words) <= set(parts):
        return False
    return said_gb is None or abs(chip.memory_bytes / 1e9 / said_gb - 1) <= _MEMORY_TOLERANCE


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.casefold())


def _jump(offer: FeedOffer, machine: str, catalog: Catalog, accept: bool) -> tuple[str, str]:
    before = catalog.price_of(machine, plan=offer.plan)
    if before is None or before.currency != offer.currency:
        return "", ""
    was, now = before.usd_per_hour / before.usd_per_unit, float(offer.price)
    change = now / was - 1
    if abs(change) <= JUMP or accept:
        return "", ""
    return "jump", f"{machine} {offer.plan}: {was:,.2f} in {before.book} of {before.date} -> {now:,.2f} ({change:+.0%})"


def _duplicate(offer: FeedOffer, others: Sequence[FeedOffer], machine: str, where: str) -> tuple[str, str]:
    if not others:
        return "used", machine
    same = [other for other in others if float(other.price) == float(offer.price)]
    if same:
        return "repeated", f"as line {same[0].line}"
    if offer.plan == "spot":  # zones of a region have spot prices of their own
        return "repeated", "another zone's spot price; the dearest is taken"
    raise InputError(
        f"two prices of {machine} {offer.plan}: {others[0].price} and {offer.price}", where=f"{where}:{offer.line}",
        value=f"line {others[0].line}: {others[0].instance}, line {offer.line}: {offer.instance}",
        fix="delete the row that is not meant, or tell the instances apart with --machine-map",
    )  # fmt: skip


def feed_book_text(feed: Feed, *, source: str, default: bool) -> str:
    """Return the YAML of the price book of a feed."""
    from planner.catalog.json_schema import schema_line

    lines = [schema_line("prices").rstrip("\n"), "# By planner catalog import-prices: import again rather than edit."]
    lines += [
        f"source: {source!r}".replace('"', "'"),
        "kind: quote",
        "",
        f"provider: {feed.provider}",
        f"date: {feed.date}",
    ]
    lines += [f"region: {feed.region}"] if feed.region else []
    lines += [f"currency: {feed.currency}"] if feed.currency != "USD" else []
    lines += [] if default else ["default: false  # used only when named with --prices"]
    for plan in ("on_demand", "spot"):
        of_plan = {machine: amount for (p, machine), amount in sorted(feed.prices.items()) if p == plan}
        if of_plan:
            lines.append(f"{plan}:")
            lines += [f"  {machine}: {amount:.10g} {feed.currency}/h" for machine, amount in of_plan.items()]
    return "\n".join(lines) + "\n"
