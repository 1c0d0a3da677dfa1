"""The catalog: files of several layers, read by name when they are asked for.

The lowest layer is what ships with planner; overlay folders of the user lie above it, in order. A file's folder
gives its kind and its stem its name. An overlay file of a name that exists below is merged into it field by
field; one of a new name describes a new thing and must be complete. Nothing is read before it is needed.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from planner.catalog.folders import builtin_folders, overlay_folders, yaml_files
from planner.catalog.loading import Layer, merge_layers, read_layer, split_dotted_path
from planner.catalog.machine_price import MachinePrice
from planner.catalog.precedence import PriceCandidate, QuoteChoice, Ruling, ruling
from planner.catalog.prices import PLAN_NAMES, PlanName
from planner.catalog.schema import (
    BY_FOLDER,
    GROUP_MARK,
    Accelerator,
    Currency,
    Entry,
    Fabric,
    Llm,
    Machine,
    PriceBook,
    Region,
    Runtime,
    Workload,
)
from planner.catalog.validation import check, check_overlay_header, joined, where_of
from planner.errors import CatalogError, InputError, UnknownNameError, near_misses

EntryT = TypeVar("EntryT", bound=Entry)

ENVIRONMENT_VARIABLE = "PLANNER_CATALOG"
MOST_IN_GROUP = 32  # machines that one replica may span

# What people call one entry of each folder.
LABELS: dict[str, str] = {
    "accelerators": "accelerator",
    "machines": "machine",
    "fabrics": "fabric",
    "runtimes": "runtime",
    "prices": "price book",
    "currencies": "currency",
    "regions": "region",
    "models": "model",
    "workloads": "workload",
}


class Catalog:
    """All that can be bought and served: the built-in files under the user's overlays.

    Parameters
    ----------
    overlays : sequence of path
        Folders with some of the subfolders `accelerators/ machines/ fabrics/ runtimes/ prices/ models/
        workloads/`; later ones win.
    builtin : mapping of str to path, optional
        The folders of the lowest layer by kind; those that ship with planner if left out.
    quotes : str
        Which vendor's price counts: the `cheapest`, or the `newest`.
    today : date, optional
        What the expiry of quotes is counted to. Left out: the day it is.

    Raises
    ------
    CatalogError
        An overlay that does not exist or holds something that would not be read.

    Notes
    -----
    A catalog is a snapshot: what it has read once, it does not read again.

    Attributes
    ----------
    strays : tuple of CatalogError
        Files and folders of overlays that lie where nothing is read: what each is, where, and where it belongs. They
        stop nothing but a look for the name that they bear.
    """

    def __init__(
        self,
        overlays: Sequence[Path | str] = (),
        *,
        builtin: Mapping[str, Path] | None = None,
        quotes: QuoteChoice = "cheapest",
        today: datetime.date | None = None,
    ) -> None:
        self.overlays = tuple(Path(overlay) for overlay in overlays)
        self.quotes: QuoteChoice = quotes
        self.today = today or datetime.date.today()
        lowest = dict(builtin) if builtin is not None else builtin_folders()
        found = [overlay_folders(overlay) for overlay in self.overlays]
        self._folders: list[dict[str, Path]] = [lowest, *(folders for folders, _ in found)]
        self.strays: tuple[CatalogError, ...] = tuple(stray for _, strays in found for stray in strays)
        self._listings: dict[str, list[dict[str, Path]]] = {}
        self._layers: dict[tuple[str, str], list[Layer]] = {}
        self._entries: dict[tuple[str, str], Entry] = {}
        self._plan: PlanName = "on_demand"
        self._plans: dict[str, PlanName] = {}
        self._owned_usd_per_hour: Callable[[str, PriceBook, float], float] | None = None
        self._spot_usd_per_hour: Callable[[float, float | None], float] = lambda price, _: price
        self._rulings: dict[tuple[str, str, str], Ruling] = {}

    def priced_under(
        self,
        plan: PlanName,
        by_machine: Mapping[str, PlanName],
        owned_usd_per_hour: Callable[[str, PriceBook, float], float],
        spot_usd_per_hour: Callable[[float, float | None], float],
    ) -> Catalog:
        """Return this catalog with another price plan than on demand for what machines cost.

        Parameters
        ----------
        plan, by_machine : str, mapping of str to str
            Of all machines, and of some.
        owned_usd_per_hour : callable
            What an hour of an owned machine costs: of its name, its price book and the exchange rate [USD/h].
        spot_usd_per_hour : callable
            What an hour of work on a spot machine costs: of its price and how often it is taken away [USD/h].
        """
        other = copy.copy(self)
        other._plan, other._plans = plan, dict(by_machine)
        other._owned_usd_per_hour, other._spot_usd_per_hour = owned_usd_per_hour, spot_usd_per_hour
        return other

    def plan_of(self, machine_name: str) -> PlanName:
        """Return the price plan under which a machine is priced."""
        return self._plans.get(machine_name, self._plan)

    def choosing(self, quotes: QuoteChoice) -> Catalog:
        """Return this catalog with another rule between vendors; what was read is shared."""
        if quotes == self.quotes:
            return self
        other = copy.copy(self)
        other.quotes = quotes
        return other

    @classmethod
    def default(cls, extra: Sequence[Path | str] = ()) -> Catalog:
        """Return the catalog with the overlays of PLANNER_CATALOG (a path list) and then `extra`."""
        listed = [part for part in os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep) if part]
        try:
            from_environment = cls(listed)
        except CatalogError as error:
            error.what += f" (from {ENVIRONMENT_VARIABLE})"
            raise
        return cls([*listed, *extra]) if extra else from_environment

    def names(self, kind: type[Entry]) -> list[str]:
        """Return the names of all entries of a kind, sorted."""
        return sorted({name for listing in self._listing(kind.folder) for name in listing})

    def files_of(self, kind: type[Entry], name: str) -> list[Path]:
        """Return the files that make up one entry, lowest layer first; empty if there is none."""
        return [listing[name] for listing in self._listing(kind.folder) if name in listing]

    def overlay_files_of(self, kind: type[Entry], name: str) -> list[Path]:
        """Return the files of an entry that lie in overlays."""
        return [listing[name] for listing in self._listing(kind.folder)[1:] if name in listing]

    def get(self, kind: type[EntryT], name: str, *, where: str | None = None) -> EntryT:
        """Return one entry, read and checked.

        Parameters
        ----------
        kind : type of Entry
            `Accelerator`, `Machine`, ...
        name : str
            File stem.
        where : str, optional
            Where the name was written, for the message.

        Raises
        ------
        UnknownNameError
            No file of that name.
        CatalogError
            Its files break the schema; every error they have, the first in full.
        """
        key = (kind.folder, name)
        if key not in self._entries:
            if not self.files_of(kind, name):
                raise self._unknown(kind, name, where)
            entry, problems = self.check(kind, name)
            if entry is None:
                raise joined(problems)
            self._entries[key] = entry
        return self._entries[key]  # type: ignore[return-value]

    def _unknown(self, kind: type[Entry], name: str, where: str | None) -> UnknownNameError:
        """Return the error of a name that no file bears, or that one bears which lies where it is not read."""
        error = UnknownNameError.of(LABELS[kind.folder], name, self.names(kind), where=where)
        stray = next((s for s in self.strays if s.where and Path(s.where).stem == name), None)
        if stray is not None:
            error.rule, error.fix = f"{stray.where}: {stray.what}", stray.fix
        return error

    def check(self, kind: type[EntryT], name: str) -> tuple[EntryT | None, list[InputError]]:
        """Return an existing entry, or None and everything that is wrong with its files."""
        try:
            layers = self.layers_of(kind, name)
        except CatalogError as error:
            return None, [error]
        problems = [problem for layer in layers[1:] for problem in check_overlay_header(layer)]
        if problems:
            return None, problems
        entry, problems = check(kind, merge_layers(layers), layers, given={"name": name})
        if problems and name not in self._listing(kind.folder)[0]:
            self._hint_at_mistyped_name(kind, name, problems)
        return entry, problems

    def layers_of(self, kind: type[Entry], name: str) -> list[Layer]:
        """Return the files of one entry as read, lowest layer first; merge them with `merge_layers`."""
        key = (kind.folder, name)
        if key not in self._layers:
            self._layers[key] = [read_layer(path) for path in self.files_of(kind, name)]
        return self._layers[key]

    def where_of(self, kind: type[Entry], name: str, path: str = "") -> str:
        """Return file:line of the last file that sets `path` (`network.fabric`) of an entry."""
        layers = self.layers_of(kind, name)
        return where_of(split_dotted_path(merge_layers(layers), path) if path else (), layers)

    def accelerator(self, name: str, *, where: str | None = None) -> Accelerator:
        """Return the accelerator of that name."""
        return self.get(Accelerator, name, where=where)

    def machine(self, name: str, *, where: str | None = None) -> Machine:
        """Return the machine of that name; `NAME@4` is a group of four, which one replica may span."""
        single, mark, n = name.partition(GROUP_MARK)
        if not mark:
            return self.get(Machine, name, where=where)
        if not n.isdigit() or not 2 <= int(n) <= MOST_IN_GROUP:
            raise CatalogError(
                f"{name} is not a group of machines", where=where, value=n,
                rule=f"NAME{GROUP_MARK}N is a group of N = 2 to {MOST_IN_GROUP} machines", fix=f"{single}{GROUP_MARK}2",
            )  # fmt: skip
        return self.get(Machine, single, where=where).in_groups_of(int(n))

    def fabric(self, name: str, *, where: str | None = None) -> Fabric:
        """Return the fabric of that name."""
        return self.get(Fabric, name, where=where)

    def runtime(self, name: str, *, where: str | None = None) -> Runtime:
        """Return the runtime of that name."""
        return self.get(Runtime, name, where=where)

    def price_book(self, name: str, *, where: str | None = None) -> PriceBook:
        """Return the price book of that name."""
        return self.get(PriceBook, name, where=where)

    def llm(self, name: str, *, where: str | None = None) -> Llm:
        """Return the LLM of that name."""
        return self.get(Llm, name, where=where)

    def workload(self, name: str, *, where: str | None = None) -> Workload:
        """Return the workload of that name."""
        return self.get(Workload, name, where=where)

    def accelerator_of(self, machine: Machine | str) -> Accelerator:
        """Return the accelerator that a machine holds; an unknown one names the machine's file and line."""
        if isinstance(machine, str):
            machine = self.machine(machine)
        known = self.files_of(Accelerator, machine.accelerator) or not self.files_of(Machine, machine.name)
        where = None if known else self.where_of(Machine, machine.name, "accelerator")
        return self.accelerator(machine.accelerator, where=where)

    def fabric_of(self, machine: Machine | str) -> Fabric:
        """Return the fabric of a machine's network; an unknown one names the machine's file and line."""
        if isinstance(machine, str):
            machine = self.machine(machine)
        known = self.files_of(Fabric, machine.network.fabric) or not self.files_of(Machine, machine.name)
        where = None if known else self.where_of(Machine, machine.name, "network.fabric")
        return self.fabric(machine.network.fabric, where=where)

    def currency(self, name: str, *, where: str | None = None) -> Currency:
        """Return the currency of that code."""
        return self.get(Currency, name, where=where)

    def region(self, name: str, *, where: str | None = None) -> Region:
        """Return the region of that name."""
        return self.get(Region, name, where=where)

    def book_of(self, machine_name: str, plan: PlanName, books: Sequence[str] = ()) -> PriceBook | None:
        """Return the price book that speaks for a machine under a price plan, or None if none does.

        The first of the named `books` that lists it goes before all others, expired or not; else `ruling` chooses
        among the books that are on by default (see `planner.catalog.precedence`).

        A book that breaks its schema stops the machines that it names, and no others; one that is not YAML stops all.

        Raises
        ------
        CatalogError
            Prices of several vendors are to be compared, and the catalog has no rate for the currency of one.
        """
        for name in books:
            book = self.price_book(name)
            if machine_name in getattr(book, plan):
                return book
        chosen = self.ruling_on(machine_name, plan).counting
        return None if chosen is None else self.price_book(chosen.book)

    def ruling_on(self, machine_name: str, plan: PlanName) -> Ruling:
        """Return which of the prices that are on by default counts, and why the others do not."""
        key = (machine_name, plan, self.quotes)
        if key not in self._rulings:
            found = [c for c in self.candidates(machine_name, plan) if self.price_book(c.book).default]
            self._rulings[key] = ruling(
                found, lambda c: self.amount_usd(c.book, machine_name, plan), self.today, self.quotes
            )
        return self._rulings[key]

    def candidates(self, machine_name: str, plan: PlanName) -> list[PriceCandidate]:
        """Return every price of a machine under a price plan, of books that count only when named too."""
        self._refuse_broken_book_of(machine_name)
        return [
            self._candidate(book, machine_name, plan) for book in self._books if machine_name in getattr(book, plan)
        ]

    def unused_quotes(self, machine_name: str, plan: PlanName, books: Sequence[str] = ()) -> list[str]:
        """Say which prices of the user's own overlays do not count for a machine, and why; a line each."""
        used = self.book_of(machine_name, plan, books)
        ruled = self.ruling_on(machine_name, plan)
        reasons = {other.book: why for other, why in ruled.others}
        lines = []
        for candidate in self.candidates(machine_name, plan):
            if not candidate.is_own or (used is not None and candidate.book == used.name):
                continue
            why = reasons.get(candidate.book)
            if used is not None and used.name in books:
                why = f"{used.name} was named"
            elif why is None:
                why = "its book counts only when named (`default: false`)"
            lines.append(
                f"your price of {machine_name} {plan.replace('_', ' ')} in {candidate.book} ({candidate.provider}, "
                f"{candidate.date}) is not used: {why}"
            )
        return lines

    def amount_usd(self, book_name: str, machine_name: str, plan: PlanName) -> float:
        """Return a price in USD an hour; of a purchase what it costs to buy [USD]."""
        book = self.price_book(book_name)
        rate = self.exchange_of(book, f"{plan}.{machine_name}")[0]
        return rate * (book.owned[machine_name].purchase if plan == "owned" else book.prices(plan)[machine_name])

    def _candidate(self, book: PriceBook, machine_name: str, plan: PlanName) -> PriceCandidate:
        layers = self.files_of(PriceBook, book.name)
        overlaid = self.overlay_files_of(PriceBook, book.name)
        own = bool(overlaid) and len(overlaid) == len(layers)
        if overlaid and not own:  # a shipped book that an overlay changes: whose is this price?
            upper = self.layers_of(PriceBook, book.name)[len(layers) - len(overlaid) :]
            own = any(machine_name in (layer.data.get(plan) or {}) for layer in upper)
        return PriceCandidate(
            book=book.name,
            provider=book.provider,
            region=book.region,
            date=book.date_of(plan, machine_name),
            valid_until=book.valid_until_of(plan, machine_name),
            is_own=own,
            kind=book.origin_of(plan, machine_name).kind,
        )

    def _refuse_broken_book_of(self, machine_name: str) -> None:
        """Raise what is wrong with a price book that names the machine, or that cannot be read at all."""
        for name, problems in self._broken_books.items():
            try:
                data = merge_layers(self.layers_of(PriceBook, name))
            except CatalogError:
                raise joined(problems) from None
            sections = [data.get(plan) for plan in PLAN_NAMES]
            if any(not isinstance(s, dict | None) or machine_name in (s or {}) for s in sections):
                raise joined(problems)

    def price_of(
        self, machine_name: str, books: Sequence[str] = (), plan: PlanName | None = None
    ) -> MachinePrice | None:
        """Return what a machine costs an hour, or None if no price book lists it under that plan.

        The plan is that of `plan_of`, unless another is given.

        `book_of` says which book's price that is; one in another currency is converted at the catalog's rate.

        Raises
        ------
        UnknownNameError
            A named book does not exist.
        CatalogError
            A price book breaks its schema, or the catalog has no rate for its currency.
        """
        single, mark, n = machine_name.partition(GROUP_MARK)
        if mark:
            price = self.price_of(single, books, plan)
            return price and price.model_copy(update={"usd_per_hour": price.usd_per_hour * int(n)})
        plan = plan or self.plan_of(machine_name)
        book = self.book_of(machine_name, plan, books)
        if book is None or (plan == "owned" and self._owned_usd_per_hour is None):
            return None
        path = f"{plan}.{machine_name}"
        origin = book.origin_of(plan, machine_name)
        usd_per_unit, exchange_date = self.exchange_of(book, path)
        if plan == "owned" and self._owned_usd_per_hour is not None:
            usd = self._owned_usd_per_hour(machine_name, book, usd_per_unit)
        else:
            usd = book.prices(plan)[machine_name] * usd_per_unit
        if plan == "spot":
            usd = self._spot_usd_per_hour(usd, book.terms_of(plan, machine_name).interruptions_per_hour)
        return MachinePrice(
            usd_per_hour=usd,
            plan=plan,
            book=book.name,
            provider=book.provider,
            date=book.date_of(plan, machine_name),
            kind=origin.kind,
            source=origin.source,
            currency=book.currency,
            usd_per_unit=usd_per_unit,
            exchange_date=exchange_date,
        )

    def exchange_of(self, book: PriceBook, path: str) -> tuple[float, datetime.date | None]:
        """Return US dollars for one unit of a book's currency, and the date of that rate (None for USD itself).

        Raises
        ------
        CatalogError
            The catalog has no rate for it; names the price at `path` and its line.
        """
        if book.currency == "USD":
            return 1.0, None
        if not self.files_of(Currency, book.currency):
            raise CatalogError(
                f"{path}: this price is in {book.currency}, and the catalog has no rate to turn it into USD",
                where=self.where_of(PriceBook, book.name, path),
                rule="prices of several currencies are compared at explicit, dated rates",
                fix=f"add currencies/{book.currency}.yaml to an overlay: source, kind, date, usd_per_unit",
            )
        rate = self.currency(book.currency)
        return rate.usd_per_unit, rate.date

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the content of every file of all layers, wherever they lie."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256()
        for number in range(len(self._folders)):
            for folder in sorted(BY_FOLDER):
                for name, path in sorted(self._listing(folder)[number].items()):
                    content = path.read_bytes()
                    total.update(f"{number}/{folder}/{name}.yaml {len(content)}\n".encode())
                    total.update(content)
        return total.hexdigest()

    @cached_property
    def _books(self) -> list[PriceBook]:
        return [self.price_book(name) for name in self.names(PriceBook) if name not in self._broken_books]

    @cached_property
    def _broken_books(self) -> dict[str, list[InputError]]:
        checked = {name: self.check(PriceBook, name)[1] for name in self.names(PriceBook)}
        return {name: problems for name, problems in checked.items() if problems}

    def _listing(self, folder: str) -> list[dict[str, Path]]:
        """Return name to file of one kind for every layer."""
        if folder not in self._listings:
            self._listings[folder] = [yaml_files(layer.get(folder)) for layer in self._folders]
        return self._listings[folder]

    def _hint_at_mistyped_name(self, kind: type[Entry], name: str, problems: Sequence[InputError]) -> None:
        """Where a new entry of an overlay lacks fields, say that an existing name may have been meant."""
        if not any(problem.what.endswith("missing field") for problem in problems):
            return
        near = near_misses(name, self._listing(kind.folder)[0])
        problems[0].rule = f"there is no {LABELS[kind.folder]} {name!r} below this file, so it must be complete"
        if near:
            meant = " or ".join(f"{n}.yaml" for n in near)
            problems[0].fix = f"{problems[0].fix}; or, to change an existing entry, name the file {meant}"
