"""Any result that was printed as JSON, as titled tables of flat records: what every form of export is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.catalog.catalog import Catalog
from planner.errors import InputError, ScenarioError
from planner.parsing import load_json, read_bytes

if TYPE_CHECKING:
    from planner.catalog.schema import Currency

SUMMARY, ASKED = "Summary", "Asked for"
_ASKED = ("scenario", "fleet")
_LEFT_OUT = ("plan",)  # a whole plan inside a record, which has its own export


@dataclass(frozen=True)
class ResultTable:
    """Records under a title; columns in the order in which they first appear."""

    title: str
    records: Sequence[Mapping[str, object]]

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(dict.fromkeys(key for record in self.records for key in record))


def read_result(path: Path) -> Any:
    """Read a result from its JSON file, or one record a line.

    Raises
    ------
    ScenarioError
        The file cannot be read, or is neither.
    """
    try:
        text = read_bytes(path, ScenarioError).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError("cannot read the file", where=str(path), value=str(error)) from None
    try:
        data = load_json(text, str(path), ScenarioError)
    except ValueError:
        try:
            data = [load_json(line, str(path), ScenarioError) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise ScenarioError(
                f"not a result: {error}", where=str(path), rule="JSON as --format json prints it",
                fix="write one with --format json --output FILE.json",
            ) from None  # fmt: skip
    if not isinstance(data, (dict, list)) or not data:
        raise ScenarioError("there is no result in this file", where=str(path), rule="JSON as --format json prints it")
    return data


def tables_of(data: Any) -> list[ResultTable]:
    """Divide a result into tables: its single figures, each of its lists, and what was asked for.

    Parameters
    ----------
    data : dict or list
        As JSON holds it.
    """
    if isinstance(data, list):
        return [ResultTable("Rows", [_flat(row) if isinstance(row, dict) else {"value": row} for row in data])]
    single: list[dict[str, object]] = []
    tables: list[ResultTable] = []
    for key, value in data.items():
        if key in _ASKED:
            continue
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            tables.append(ResultTable(_title(key), [_flat(row) for row in value]))
        elif isinstance(value, list) and key == "notes" and value:
            tables.append(ResultTable("Notes", [{"note": note} for note in value]))
        elif isinstance(value, dict):
            single += [{"figure": name, "value": cell} for name, cell in _flat({key: value}).items()]
        else:
            single.append({"figure": key, "value": _cell(value)})
    asked = [
        {"field": k, "value": v}
        for key in _ASKED
        if isinstance(data.get(key), dict)
        for k, v in _flat(data[key]).items()
    ]
    return [ResultTable(SUMMARY, single), *tables, *([ResultTable(ASKED, asked)] if asked else [])]


def rate_of(code: str, catalog: Catalog) -> Currency | None:
    """The dated rate of a currency; None of USD.

    Raises
    ------
    InputError
        The catalog has no rate for it.
    """
    if code == "USD":
        return None
    from planner.catalog.schema import Currency

    if code not in catalog.names(Currency):
        raise InputError(
            f"the catalog has no rate for {code}", where="--currency", value=code,
            rule="amounts are converted at explicit, dated rates",
            fix=f"add currencies/{code}.yaml to a --catalog folder: source, kind, date, usd_per_unit",
        )  # fmt: skip
    return catalog.currency(code)


def amounts_in(data: Any, usd_per_unit: float, name: str = "") -> Any:
    """A result as JSON holds it with every amount in USD divided by a rate; names stay as they are."""
    if isinstance(data, dict):
        return {key: amounts_in(value, usd_per_unit, key) for key, value in data.items()}
    if isinstance(data, list):
        return [amounts_in(value, usd_per_unit, name) for value in data]
    is_amount = is_money(name) and isinstance(data, int | float) and not isinstance(data, bool)
    return data / usd_per_unit if is_amount else data


def in_currency(tables: Sequence[ResultTable], code: str, catalog: Catalog) -> list[ResultTable]:
    """Turn every amount in USD into another currency, at the dated rate of the catalog.

    Raises
    ------
    InputError
        The catalog has no rate for it.
    """
    rate = rate_of(code, catalog)
    if rate is None:
        return list(tables)

    def converted(record: Mapping[str, object]) -> dict[str, object]:
        found: dict[str, object] = {}
        named = record.get("figure") if set(record) == {"figure", "value"} else None
        for key, value in record.items():
            name = str(named) if named is not None and key == "value" else key
            if is_money(name) and isinstance(value, int | float) and not isinstance(value, bool):
                value = value / rate.usd_per_unit
            found[key if named is not None else _renamed(key, code)] = (
                _renamed(str(value), code) if named is not None and key == "figure" and is_money(str(value)) else value
            )
        return found

    told = {"figure": "exchange_rate", "value": f"{rate.usd_per_unit:g} USD for 1 {code}, {rate.date}: {rate.source}"}
    out = [ResultTable(t.title, [converted(r) for r in t.records]) for t in tables]
    if out[0].title == SUMMARY:
        out[0] = ResultTable(SUMMARY, [told, *out[0].records])
    return out


def is_money(name: str) -> bool:
    """Whether a field is an amount in USD, by its name: `cost_usd_per_hour`, and not `usd_per_unit`."""
    words = name.casefold().replace(".", "_").split("_")
    return "usd" in words and not name.endswith(("usd_per_unit", "per_usd")) and "per_usd" not in name


def _renamed(name: str, code: str) -> str:
    return "_".join(code.lower() if word == "usd" else word for word in name.split("_")) if is_money(name) else name


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()[:31]


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in record.items():
        if key in _LEFT_OUT and isinstance(value, dict):
            continue
        if isinstance(value, dict) and value and len(value) <= 40:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _cell(value)
    return found


def _cell(value: Any) -> object:
    if isinstance(value, list):
        return "; ".join(map(str, value)) if all(isinstance(v, str | int | float) for v in value) else json.dumps(value)
    return json.dumps(value) if isinstance(value, dict) else value
