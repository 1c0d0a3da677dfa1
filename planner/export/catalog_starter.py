"""The overlay that `planner catalog init` writes: it changes nothing until it is edited."""

from __future__ import annotations

from typing import get_args

from planner.catalog.catalog import Catalog
from planner.catalog.entry import SourceKind
from planner.catalog.json_schema import catalog_json_schemas, schema_line, schema_text
from planner.catalog.lint import STARTER_SOURCE
from planner.catalog.loading import merge_layers
from planner.catalog.machine_price import MachinePrice
from planner.catalog.schema import Accelerator, Machine
from planner.errors import CatalogError

_PREFERRED_MACHINE = "dgx-h100"

_README = """\
# A catalog overlay of planner

Use it with `planner optimize --catalog DIR ...`, or set `PLANNER_CATALOG=DIR`.

Folders: `accelerators/ machines/ fabrics/ runtimes/ prices/ models/ workloads/`. A file named like an existing
entry (`planner catalog list`) changes only the fields it sets and says with `source` and `kind` where these come
from. Mappings are merged field by field; lists and single values are replaced. A file of a new name describes a
new thing and must be complete: start from a copy of the file that `planner catalog show NAME` names at its top.

`kind` is one of {kinds}. Quantities need their units.
The first line of each file names its JSON Schema in `schema/`: editors that know YAML schemas complete and check by it.
`planner catalog lint DIR` checks everything.
"""

_PRICE = """\
# Changes the price of one machine in the price book {book}; all else in it stays.
on_demand: {{{machine}: {usd_per_hour:.10g} USD/h}}
source: {placeholder}, such as the number and date of an offer
kind: quote
"""

_ACCELERATOR = """\
# Changes one field of the accelerator {accelerator}; all others stay as they are.
# `planner catalog show {accelerator}` lists its fields.
memory_bandwidth: {memory_bandwidth}
source: {placeholder}, such as a datasheet or a measurement
kind: estimate
"""


def starter_files(catalog: Catalog) -> dict[str, str]:
    """Return the files of a starter overlay, relative path to text, made of entries that exist.

    Raises
    ------
    CatalogError
        The catalog has no machine with a price to show.
    """
    machine, price = _example(catalog)
    accelerator = machine.accelerator
    written = merge_layers(catalog.layers_of(Accelerator, accelerator))["memory_bandwidth"]
    return {
        "README.md": _README.format(kinds=", ".join(get_args(SourceKind))),
        f"prices/{price.book}.yaml": schema_line("prices")
        + _PRICE.format(
            book=price.book, machine=machine.name, usd_per_hour=price.usd_per_hour, placeholder=STARTER_SOURCE
        ),
        f"accelerators/{accelerator}.yaml": schema_line("accelerators")
        + _ACCELERATOR.format(accelerator=accelerator, memory_bandwidth=written, placeholder=STARTER_SOURCE),
        **{f"schema/{folder}.schema.json": schema_text(schema) for folder, schema in catalog_json_schemas().items()},
    }


def _example(catalog: Catalog) -> tuple[Machine, MachinePrice]:
    names = catalog.names(Machine)
    for name in sorted(names, key=lambda name: (name != _PREFERRED_MACHINE, name)):
        price = catalog.price_of(name)
        if price is not None:
            machine = catalog.machine(name)
            catalog.accelerator_of(machine)
            return machine, price
    raise CatalogError("no machine of the catalog has a price, so there is no example to write")
