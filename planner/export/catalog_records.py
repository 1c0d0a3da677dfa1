"""Catalog entries as flat records: one line for an entry in a listing, one line for a field of an entry."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from planner.catalog.catalog import LABELS, Catalog
from planner.catalog.json_schema import unit_at
from planner.catalog.loading import ABOUT, merge_layers
from planner.catalog.offers import MachineOffer
from planner.catalog.schema import (
    BY_FOLDER,
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
    TokenDistribution,
    Workload,
)
from planner.catalog.validation import dotted, one_line
from planner.errors import InputError, UnknownNameError
from planner.units import format_bandwidth, format_data, format_line_rate, format_power, format_time

FROM = "from"
BUILT_IN = "built-in"
_WRITTEN = re.compile(r"\s*\$?\s*([+-]?[\d.,_]+(?:[eE][+-]?\d+)?)\s*(.*?)\s*")


@dataclass(frozen=True)
class RecordColumn:
    """One column of a listing: the value for programs and the text for people."""

    name: str
    value: object
    title: str
    text: str


def kind_of(word: str) -> type[Entry]:
    """Return the kind of entry that a word means: a folder, `machine`, `llm`, `price book`, ...

    Raises
    ------
    UnknownNameError
        No such kind.
    """
    words: dict[str, type[Entry]] = dict(BY_FOLDER)
    words |= {LABELS[folder]: kind for folder, kind in BY_FOLDER.items()}
    others: dict[str, type[Entry]] = {"price": PriceBook, "llms": Llm}
    words |= {kind.__name__.lower(): kind for kind in ENTRY_TYPES} | others
    found = words.get(word.lower().rstrip("/"))
    if found is None:
        raise UnknownNameError.of("kind", word, BY_FOLDER)
    return found


def overview(catalog: Catalog) -> list[list[RecordColumn]]:
    """Return all names of all kinds, without reading a file."""
    rows = []
    for kind in ENTRY_TYPES:
        for name in catalog.names(kind):
            rows.append([_plain("kind", kind.folder), _plain("name", name), _layers(catalog, kind, name)])
    return rows


def listing(catalog: Catalog, kind: type[Entry]) -> list[list[RecordColumn]]:
    """Return all entries of one kind with what tells them apart; a broken one says what is wrong with it."""
    rows = []
    for name in catalog.names(kind):
        head = [_plain("name", name)]
        entry, problems = catalog.check(kind, name)
        if entry is None:
            rows.append([*head, _plain("error", one_line(problems[0]))])
        else:
            rows.append([*head, *_summary(entry, catalog), _layers(catalog, kind, name)])
    return rows


def find(catalog: Catalog, name: str, kind: type[Entry] | None = None) -> Entry:
    """Return the entry of a name, whatever its kind.

    Raises
    ------
    UnknownNameError
        No entry has it.
    InputError
        Several kinds have it and `kind` does not say which.
    """
    if kind is not None:
        return catalog.get(kind, name)
    kinds = [k for k in ENTRY_TYPES if catalog.files_of(k, name)]
    if not kinds:
        raise UnknownNameError.of("catalog entry", name, {n for k in ENTRY_TYPES for n in catalog.names(k)})
    if len(kinds) > 1:
        raise InputError(
            f"{name!r} is the name of several things: {', '.join(LABELS[k.folder] for k in kinds)}",
            where="--kind",
            fix=f"say which one: --kind {kinds[0].folder}",
        )
    return catalog.get(kinds[0], name)


def field_records(catalog: Catalog, entry: Entry) -> list[dict[str, object]]:
    """Return every field of an entry as a flat record.

    Returns
    -------
    list of dict
        `field` (dotted path as in YAML), `value` (in the base unit), `unit`, `written` (as in the file),
        `kind` and `source` of the value. A field left out of the files has kind `default`.
    """
    kind = type(entry)
    written = merge_layers(catalog.layers_of(kind, entry.name))
    records: list[dict[str, object]] = []
    for path, value in _leaves(entry.model_dump(by_alias=True, mode="json")):
        if path[0] in ("name", *ABOUT):
            continue
        as_written = _value_at(written, path)
        if as_written is None and value in (None, {}):
            continue
        origin = entry.provenance_of(dotted(path)) if as_written is not None else None
        records.append(
            {
                "field": dotted(path),
                "value": value,
                "unit": unit_at(kind.folder, path),
                "written": value if as_written is None or isinstance(as_written, datetime.date) else as_written,
                "kind": origin.kind if origin else "default",
                "source": origin.source if origin else "",
            }
        )
    return records


def field_row(record: dict[str, object]) -> list[str]:
    """Return a record of `field_records` as the texts of a table: field, value, unit, kind, source."""
    written, unit = record["written"], ""
    text = ", ".join(map(str, written)) if isinstance(written, list) else _text(written)
    if record["unit"] is not None and (match := _WRITTEN.fullmatch(text)):
        text, unit = match[1], match[2]
    return [str(record["field"]), text, unit, str(record["kind"]), str(record["source"])]


def offer_titles() -> list[str]:
    """Return the titles of a table of the prices of one machine."""
    return ["price plan", "USD", "USD/accelerator", "counts", "date", "price book", "provider", "kind", "why", "source"]


def offer_row(offer: MachineOffer) -> list[str]:
    """Return one price of a machine as the texts of a table."""
    per = "" if offer.plan == "owned" else "/h"
    amount = f"{offer.amount:,.2f} {offer.currency}{per}" if offer.usd is None else f"{offer.usd:,.2f}{per}"
    each = "-" if offer.usd_per_accelerator is None else f"{offer.usd_per_accelerator:,.2f}{per}"
    return [
        offer.plan, amount, each, "yes" if offer.counts else "no", offer.date.isoformat(), offer.book, offer.provider,
        offer.kind, offer.why, offer.source.strip(),
    ]  # fmt: skip


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _leaves(data: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _value_at(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(data, dict) or part not in data:
            return None
        data = data[part]
    return data


def _plain(name: str, value: str) -> RecordColumn:
    return RecordColumn(name, value, name, value)


def _layers(catalog: Catalog, kind: type[Entry], name: str) -> RecordColumn:
    files = [str(path) for path in catalog.overlay_files_of(kind, name)]
    return RecordColumn("overlays", files, FROM, ", ".join(files) if files else BUILT_IN)


def _summary(entry: Entry, catalog: Catalog) -> Iterator[RecordColumn]:
    if isinstance(entry, Accelerator):
        peak = entry.peak.get("bf16") or entry.peak.get("fp16")
        yield _plain("vendor", entry.vendor)
        yield _plain("architecture", entry.architecture)
        yield RecordColumn("memory_bytes", entry.memory_bytes, "memory", format_data(entry.memory_bytes))
        bandwidth = entry.memory_bandwidth_bytes_per_s
        yield RecordColumn("memory_bandwidth_bytes_per_s", bandwidth, "bandwidth", f"{bandwidth / 1e9:,.0f} GB/s")
        yield RecordColumn("peak_16_bit_flop_per_s", peak, "16 bit", f"{peak / 1e12:g} TFLOP/s" if peak else "-")
        yield RecordColumn("tdp_w", entry.tdp_w, "TDP", format_power(entry.tdp_w))
    elif isinstance(entry, Machine):
        yield RecordColumn("n_accelerators", entry.n_accelerators, "n", str(entry.n_accelerators))
        yield _plain("accelerator", entry.accelerator)
        nic = entry.network.n_nics * entry.network.nic_bandwidth_bytes_per_s
        yield RecordColumn("network_bytes_per_s", nic, "network", format_bandwidth(nic))
        yield RecordColumn("rated_power_w", entry.rated_power_w, "rated power", format_power(entry.rated_power_w))
        try:
            price = catalog.price_of(entry.name)
        except InputError:  # `lint` tells what is wrong with the book; it stops no listing
            price = None
        usd_per_hour, book, date = (price.usd_per_hour, price.book, price.date) if price else (None, None, None)
        yield RecordColumn("usd_per_hour", usd_per_hour, "USD/h", f"{usd_per_hour:,.2f}" if usd_per_hour else "-")
        yield RecordColumn("price_book", book, "price book", book or "-")
        yield RecordColumn("price_date", date and date.isoformat(), "of", date.isoformat() if date else "-")
    elif isinstance(entry, Fabric):
        yield _plain("family", entry.family)
        rate = entry.line_rate_bytes_per_s
        yield RecordColumn("line_rate_bytes_per_s", rate, "line rate", format_line_rate(rate) if rate else "any")
        yield RecordColumn("efficiency_fraction", entry.efficiency, "efficiency", f"{entry.efficiency * 100:g} %")
        yield RecordColumn("latency_s", entry.latency_s, "latency", format_time(entry.latency_s))
    elif isinstance(entry, Runtime):
        yield _plain("released", entry.released.isoformat())
        yield RecordColumn("max_batch", entry.max_batch, "batch", str(entry.max_batch))
        tuned = ", ".join([*entry.architectures, *entry.accelerators])
        yield RecordColumn("values_for", tuned, "values for", tuned or "-")
    elif isinstance(entry, PriceBook):
        yield _plain("provider", entry.provider)
        yield _plain("date", entry.date.isoformat())
        yield RecordColumn("default", entry.default, "default", "yes" if entry.default else "only with --prices")
        n_machines = len({machine for _, machine in entry.listed()})
        plans = ", ".join(dict.fromkeys(plan for plan, _ in entry.listed()))
        yield RecordColumn("n_machines", n_machines, "machines", str(n_machines))
        yield _plain("plans", plans)
        yield _plain("currency", entry.currency)
    elif isinstance(entry, Currency):
        yield _plain("date", entry.date.isoformat())
        yield RecordColumn("usd_per_unit", entry.usd_per_unit, "USD a unit", f"{entry.usd_per_unit:g}")
    elif isinstance(entry, Region):
        yield _plain("title", entry.title)
        carbon, electricity = entry.carbon_g_per_kwh, entry.electricity_usd_per_kwh
        yield RecordColumn("carbon_g_per_kwh", carbon, "g CO2e/kWh", f"{carbon:g}")
        yield _plain("date", entry.date.isoformat())
        shown = "-" if electricity is None else f"{electricity:g}"
        yield RecordColumn("electricity_usd_per_kwh", electricity, "USD/kWh", shown)
    elif isinstance(entry, Llm):
        yield RecordColumn("n_parameters", entry.n_parameters, "parameters", f"{entry.n_parameters / 1e9:.4g} B")
        yield _plain("attention", ", ".join(dict.fromkeys(m.type for m in entry.mixers)))
        experts = f"{entry.experts.n_experts_per_token} of {entry.experts.n_experts}" if entry.experts else ""
        yield RecordColumn("experts", experts, "experts", experts or "-")
        yield RecordColumn("weight_precision", entry.weight_precision, "weights", entry.weight_precision)
        yield RecordColumn("max_context_tokens", entry.max_context_tokens, "context", f"{entry.max_context_tokens:,}")
    elif isinstance(entry, Workload):
        prompt, output = _median(entry.prompt_tokens), _median(entry.output_tokens)
        yield RecordColumn("prompt_tokens_p50", prompt, "prompt p50", f"{prompt:,.0f}")
        yield RecordColumn("output_tokens_p50", output, "output p50", f"{output:,.0f}")
        yield RecordColumn("arrival_cv2", entry.arrival_cv2, "burstiness", f"{entry.arrival_cv2:g}")
        yield _plain("title", entry.title)


def _median(distribution: TokenDistribution) -> float:
    points = list(zip(distribution.probabilities, distribution.tokens, strict=True))
    for (p0, q0), (p1, q1) in pairwise(points):
        if p0 <= 0.5 <= p1:
            return q0 + (q1 - q0) * (0.5 - p0) / (p1 - p0)
    return points[-1][1]
