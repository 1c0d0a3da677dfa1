"""Everything that can be wrong with a catalog, found in one pass over all of its files.

Errors are what planner would refuse or compute nonsense with; warnings are what a reviewer should look at.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner.catalog.catalog import LABELS, Catalog
from planner.catalog.loading import ABOUT, has_dotted_path, merge_layers
from planner.catalog.lookalikes import lookalikes
from planner.catalog.plausibility import Remark, Severity, about_fabric, about_port, about_rates, in_range
from planner.catalog.prices import RENTED, STALE_AFTER_DAYS
from planner.catalog.schema import (
    ENTRY_TYPES,
    Accelerator,
    Currency,
    Entry,
    Fabric,
    Llm,
    Machine,
    PriceBook,
    Region,
    Runtime,
)
from planner.catalog.validation import one_line
from planner.errors import InputError, near_misses
from planner.units import format_power

N_PARAMETERS_TOLERANCE = 0.03
RATED_POWER_TOLERANCE = 0.02

_USD_PER_ACCELERATOR_HOUR = (0.02, 50.0)
_USD_PER_ACCELERATOR = (200.0, 250e3)
_LIFE_YEARS = (1.0, 12.0)
_CARBON_G_PER_KWH = (0.0, 1500.0)
_USD_PER_KWH = (0.005, 1.0)

# What `planner catalog init` writes in place of a source.
STARTER_SOURCE = "put your source here"
# Lists that others keep of what makers say, and memories of them.
_SECOND_HAND = re.compile(
    r"commit [0-9a-f]{7}|github\.com/|gist\.github|huggingface\.co/datasets|blogspot|\bwiki\b|from memory|not checked",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"\W*(todo|tbd|fixme|xxx+|unknown|none|n/?a|source|\?+)\W*", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One remark on one line of one file."""

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.severity}: {self.message}"

    def to_record(self) -> dict[str, str]:
        """Return the finding as one flat JSON-ready record."""
        return {"severity": self.severity, "where": self.where, "message": self.message}


def lint(catalog: Catalog, *, today: datetime.date | None = None) -> list[Finding]:
    """Check every file of a catalog and how they refer to each other.

    Parameters
    ----------
    catalog : Catalog
        With its overlays.
    today : date, optional
        What the age of prices is counted from.

    Returns
    -------
    list of Finding
        By file; those that break the schema, and then what the sound ones say.
    """
    today = today or datetime.date.today()
    findings: list[Finding] = [Finding("error", s.where or "", one_line(s, with_where=False)) for s in catalog.strays]
    sound: list[tuple[type[Entry], Entry]] = []
    for kind in ENTRY_TYPES:
        for name in catalog.names(kind):
            entry, problems = catalog.check(kind, name)
            findings += [Finding("error", p.where or name, one_line(p, with_where=False)) for p in problems]
            if entry is not None:
                sound.append((kind, entry))
    names = {kind: catalog.names(kind) for kind in ENTRY_TYPES}
    accelerators = {entry.name: entry for _, entry in sound if isinstance(entry, Accelerator)}
    machines = {entry.name: entry for _, entry in sound if isinstance(entry, Machine)}
    fabrics = {entry.name: entry for _, entry in sound if isinstance(entry, Fabric)}
    alike: dict[int, list[Remark]] = {}
    for entry, remark in lookalikes([entry for _, entry in sound]):
        alike.setdefault(id(entry), []).append(remark)
    for kind, entry in sound:
        remarks = [*_about_sources(entry, catalog), *alike.get(id(entry), [])]
        if isinstance(entry, Accelerator):
            remarks += about_rates(entry)
        elif isinstance(entry, Machine):
            fabric = fabrics.get(entry.network.fabric)
            remarks += _about_machine(entry, names, accelerators.get(entry.accelerator), fabric)
        elif isinstance(entry, Fabric):
            remarks += about_fabric(entry)
        elif isinstance(entry, Runtime):
            remarks += _about_runtime(entry, names[Accelerator], accelerators.values())
            for name in entry.machines:
                remarks += _reference(f"machines.{name}", Machine, name, names[Machine])
        elif isinstance(entry, PriceBook):
            remarks += _about_prices(entry, catalog, names[Machine], machines, today)
            remarks += _about_terms(entry)
            remarks += _about_unused_prices(entry, catalog)
        elif isinstance(entry, Currency):
            remarks += _about_currency(entry, today)
        elif isinstance(entry, Region):
            remarks += _about_region(entry)
        elif isinstance(entry, Llm):
            remarks += _about_llm(entry)
        for severity, path, message in remarks:
            findings.append(Finding(severity, catalog.where_of(kind, entry.name, path), message))
    return findings


def machines_without_price(catalog: Catalog) -> list[str]:
    """Return the machines that no sound price book lists under any plan."""
    books = [book for name in catalog.names(PriceBook) if (book := catalog.check(PriceBook, name)[0])]
    priced = {machine for book in books for _, machine in book.listed()}
    return [name for name in catalog.names(Machine) if name not in priced]


def _about_sources(entry: Entry, catalog: Catalog) -> Iterator[Remark]:
    layers = catalog.layers_of(type(entry), entry.name)
    data = merge_layers(layers)
    sources = {"source": entry.source} | {f"provenance.{path}": p.source for path, p in entry.provenance.items()}
    for at, source in sources.items():
        if _PLACEHOLDER.fullmatch(source.strip()) or not source.strip():
            yield "error", at, f"{at}: {source!r} is not a source"
    kinds = {"kind": (entry.kind, entry.source)}
    kinds |= {f"provenance.{path}.kind": (p.kind, p.source) for path, p in entry.provenance.items()}
    for at, (kind, source) in kinds.items():
        if kind == "datasheet" and (match := _SECOND_HAND.search(source)):
            message = (
                f"{at}: datasheet, but {match[0]!r} is not what the maker says: `listed`, or `estimate` from memory"
            )
            yield "warning", at, message
    for layer in layers[1:]:
        if str(layer.data.get("source")).startswith(STARTER_SOURCE):
            yield (
                "warning",
                "source",
                f"{layer.path}: the example's source still stands here; say where the value comes from",
            )
    values = {key: value for key, value in data.items() if key not in ABOUT}
    for path in entry.provenance:
        if not has_dotted_path(values, path):
            near = near_misses(path, _all_paths(values))
            hint = f"; did you mean: {', '.join(near)}?" if near else ""
            yield "error", f"provenance.{path}", f"provenance.{path}: this file sets no such value{hint}"
    for layer in layers[1:]:
        if set(layer.data) <= set(ABOUT):
            yield "warning", "source", f"{layer.path} changes nothing: it has no field but {', '.join(layer.data)}"


def _about_machine(
    entry: Machine, names: dict[type[Entry], list[str]], accelerator: Accelerator | None, fabric: Fabric | None
) -> Iterator[Remark]:
    yield from _reference("accelerator", Accelerator, entry.accelerator, names[Accelerator])
    yield from _reference("network.fabric", Fabric, entry.network.fabric, names[Fabric])
    yield from about_port(entry, fabric)
    if accelerator is None:
        return
    if entry.n_accelerators > 1 and entry.scale_up is None and accelerator.scale_up is None:
        yield "error", "", f"scale_up: neither this machine nor {accelerator.name} says how accelerators are linked"
    fraction = entry.power_cap.accelerator_fraction if entry.power_cap else 1.0
    parts_w = entry.n_accelerators * accelerator.tdp_w * fraction + entry.chassis_power_w
    sum_text = f"{entry.n_accelerators} x {accelerator.tdp_w * fraction:g} W + chassis = {format_power(parts_w)}"
    if parts_w > entry.rated_power_w * (1 + RATED_POWER_TOLERANCE):
        yield "warning", "rated_power", f"rated_power {format_power(entry.rated_power_w)} is below {sum_text}"
    elif parts_w < entry.rated_power_w / 2:
        yield "warning", "rated_power", f"rated_power {format_power(entry.rated_power_w)} is over twice {sum_text}"


def _about_runtime(entry: Runtime, names: list[str], accelerators: Iterable[Accelerator]) -> Iterator[Remark]:
    for name in entry.accelerators:
        yield from _reference(f"accelerators.{name}", Accelerator, name, names)
    known = sorted({accelerator.architecture for accelerator in accelerators})
    places = [(f"architectures.{name}", name) for name in entry.architectures]
    for key, said in entry.support.items():
        for name in [*said.accelerators, *said.excluded]:
            yield from _reference(f"support.{key}", Accelerator, name, names)
        places += [(f"support.{key}.{name}", name) for name in said.architectures]
    for place, name in places:
        if name not in known:
            near = near_misses(name, known)
            hint = f"; did you mean: {', '.join(near)}?" if near else f"; known: {', '.join(known)}"
            yield "error", place, f"{place}: no accelerator has it{hint}"


def _about_prices(
    entry: PriceBook, catalog: Catalog, names: list[str], machines: dict[str, Machine], today: datetime.date
) -> Iterator[Remark]:
    listed = list(entry.listed())
    if any(entry.date_of(plan, name) == entry.date for plan, name in listed) or not listed:
        yield from _about_age("these prices are", entry.date, today)
    for plan, name in listed:
        if (date := entry.date_of(plan, name)) != entry.date:
            yield from _about_age(f"{plan}.{name}: this price is", date, today)
    if not listed:
        yield "warning", "", "this book has no price"
    for plan, name in listed:
        yield from _reference(f"{plan}.{name}", Machine, name, names)
    try:
        usd_per_unit, _ = catalog.exchange_of(entry, f"{listed[0][0]}.{listed[0][1]}") if listed else (1.0, None)
    except InputError as error:
        yield "error", "currency", f"{error.what}; {error.fix}"
        return
    for plan in RENTED:
        for name, price in entry.prices(plan).items():
            path = f"{plan}.{name}"
            if name in machines:
                each = price * usd_per_unit / machines[name].n_accelerators
                yield from in_range(path, each, _USD_PER_ACCELERATOR_HOUR, lambda v: f"{v:g} USD/h an accelerator")
            if price > entry.on_demand.get(name, price):
                yield "warning", path, f"{path} costs more than on demand"
    for name, terms in entry.owned.items():
        path = f"owned.{name}"
        if name in machines:
            each = terms.purchase * usd_per_unit / machines[name].n_accelerators
            yield from in_range(
                f"{path}.purchase", each, _USD_PER_ACCELERATOR, lambda v: f"{v:,.0f} USD an accelerator"
            )
            if terms.hosting_per_rack_unit is not None and machines[name].rack_units is None:
                where = f"{path}.hosting_per_rack_unit"
                yield "error", where, f"{where}: {name} does not say how many rack_units it has"
        yield from in_range(f"{path}.life", terms.life_months / 12, _LIFE_YEARS, lambda v: f"{v:g} years")


def _about_terms(entry: PriceBook) -> Iterator[Remark]:
    listed = set(entry.listed())
    for plan, machines in entry.terms.items():
        for name, terms in machines.items():
            path = f"terms.{plan}.{name}"
            if (plan, name) not in listed:
                near = near_misses(name, [machine for of, machine in listed if of == plan])
                hint = f"; did you mean: {', '.join(near)}?" if near else ""
                yield "error", path, f"{path}: this book has no such price{hint}"
            if terms.interruptions_per_hour is not None and plan != "spot":
                yield "error", f"{path}.interruptions", f"{path}.interruptions: only spot machines are taken away"
            if terms.max_count is not None and terms.max_count < terms.minimum_order:
                what = f"max_count {terms.max_count} is below minimum_order {terms.minimum_order}"
                yield "error", f"{path}.max_count", f"{path}: {what}, so none can be had"


def _about_currency(entry: Currency, today: datetime.date) -> Iterator[Remark]:
    if not re.fullmatch("[A-Z]{3}", entry.name) or entry.name == "USD":
        yield "error", "", f"{entry.name}.yaml: the file of a currency bears its ISO 4217 code, such as EUR.yaml"
    yield from _about_age("this exchange rate is", entry.date, today)


def _about_region(entry: Region) -> Iterator[Remark]:
    yield from in_range("carbon", entry.carbon_g_per_kwh, _CARBON_G_PER_KWH, lambda v: f"{v:g} g/kWh")
    if entry.electricity_usd_per_kwh is not None:
        yield from in_range("electricity", entry.electricity_usd_per_kwh, _USD_PER_KWH, lambda v: f"{v:g} USD/kWh")


def _about_age(subject: str, date: datetime.date, today: datetime.date) -> Iterator[Remark]:
    age_days = (today - date).days
    if age_days > STALE_AFTER_DAYS:
        yield "warning", "date", f"{subject} {age_days / 30.44:.0f} months old ({date})"
    elif age_days < 0:
        yield "warning", "date", f"{subject} of a day to come ({date})"


def _about_unused_prices(entry: PriceBook, catalog: Catalog) -> Iterator[Remark]:
    """Warn of prices that an overlay sets in vain, because another price of the machine goes first."""
    for plan, machine in entry.listed() if entry.default and catalog.overlay_files_of(PriceBook, entry.name) else ():
        with contextlib.suppress(InputError):  # a broken book has its own finding
            ruled = catalog.ruling_on(machine, plan)
            for other, why in ruled.others:
                if other.book == entry.name and other.is_own:
                    yield "warning", f"{plan}.{machine}", f"{plan}.{machine}: not used: {why}"


def _about_llm(entry: Llm) -> Iterator[Remark]:
    from planner.catalog.parameters import n_parameters

    counted = float(n_parameters(entry))
    if abs(counted / entry.n_parameters - 1) > N_PARAMETERS_TOLERANCE:
        yield (
            "warning",
            "n_parameters",
            f"n_parameters is {entry.n_parameters / 1e9:.4g} B, but its architecture has {counted / 1e9:.4g} B",
        )


def _reference(path: str, kind: type[Entry], name: str, known: list[str]) -> Iterator[Remark]:
    if name not in known:
        near = near_misses(name, known)
        hint = f"; did you mean: {', '.join(near)}?" if near else ""
        yield "error", path, f"{path}: unknown {LABELS[kind.folder]} {name!r}{hint}"


def _all_paths(data: dict[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _all_paths(value, f"{prefix}{key}.")
