"""The network between machines, where a scenario puts all of them on another one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Fabric, Machine
from planner.errors import ScenarioError, UnitError, UnknownNameError
from planner.units import BANDWIDTH, format_bandwidth, format_line_rate, parse

LEAST_BYTES_PER_S, MOST_BYTES_PER_S = 1e3, 1e16  # outside, a bandwidth is a slip of the keyboard


@dataclass(frozen=True)
class NetworkOverride:
    """What to put in the place of each machine's network; None leaves what the machine has.

    Attributes
    ----------
    fabric : Fabric or None
        Technology: its family, efficiency, latency and, if it has one, line rate.
    n_nics : int or None
        Ports of a machine.
    nic_bandwidth_bytes_per_s : float or None
        Line rate of a port, each way [bytes/s].
    oversubscription : float or None
        Bandwidth of all ports over what the switches above them carry; at least 1.
    """

    fabric: Fabric | None = None
    n_nics: int | None = None
    nic_bandwidth_bytes_per_s: float | None = None
    oversubscription: float | None = None

    def applied(self, machine: Machine, fabric: Fabric) -> tuple[Machine, Fabric]:
        """A machine and its fabric, on this network."""
        fabric = self.fabric or fabric
        if self.oversubscription is not None:
            fabric = fabric.model_copy(update={"oversubscription": self.oversubscription})
        own = machine.network
        rate = self.nic_bandwidth_bytes_per_s or (self.fabric and self.fabric.line_rate_bytes_per_s)
        network = own.model_copy(
            update={
                "fabric": fabric.name,
                "n_nics": self.n_nics or own.n_nics,
                "nic_bandwidth_bytes_per_s": rate or own.nic_bandwidth_bytes_per_s,
            }
        )
        return machine.model_copy(update={"network": network}), fabric

    def describe(self) -> str:
        """In a few words: `2 x ethernet-25g a machine (25 Gbit/s each), oversubscribed 4:1`."""
        parts = []
        rate = self.nic_bandwidth_bytes_per_s or (self.fabric and self.fabric.line_rate_bytes_per_s)
        if self.fabric:
            each = f" ({format_line_rate(rate)} each)" if rate else ""
            parts.append(
                f"{self.n_nics} x {self.fabric.name} a machine{each}"
                if self.n_nics
                else f"{self.fabric.name} on every NIC of every machine{each}"
            )
        elif rate:
            parts.append(f"{f'{self.n_nics} NICs' if self.n_nics else 'every NIC'} at {format_line_rate(rate)}")
        if self.oversubscription is not None:
            parts.append(f"switches oversubscribed {self.oversubscription:g}:1")
        return ", ".join(parts)


def parse_network(
    text: str | None, oversubscription: float | None, catalog: Catalog, *, where: str = "network"
) -> NetworkOverride | None:
    """Read `ethernet-25g`, `25Gbit/s`, `ethernet-roce 50Gbit/s` or `2 x ethernet-25g`.

    That is a fabric of the catalog, or the line rate of a NIC, or both. Without `N x` each machine keeps its number of
    NICs, without a fabric its kind of network, and without a rate, where the fabric has none, that of its NICs.

    Raises
    ------
    UnknownNameError
        Neither a fabric of the catalog nor a bandwidth, with near misses.
    ScenarioError
        A bandwidth that no link has, or no NIC at all.
    """
    if text is None:
        return NetworkOverride(oversubscription=oversubscription) if oversubscription is not None else None
    match = re.fullmatch(r"\s*(?:(-?\d+)\s*x\s+)?(\S.*?)\s*", text)
    if match is None:
        raise ScenarioError("no network is named", where=where, value=repr(text), fix="write ethernet-25g or 25Gbit/s")
    n_nics = int(match[1]) if match[1] else None
    if n_nics is not None and n_nics < 1:
        raise ScenarioError("a machine has at least one NIC", where=where, value=text)
    name, _, rest = match[2].partition(" ")
    if re.match(r"[-+.\d]", name):
        return NetworkOverride(None, n_nics, parse_bandwidth(match[2], where=where), oversubscription)
    if name not in catalog.names(Fabric):
        raise UnknownNameError.of("network", name, catalog.names(Fabric), where=where)
    rate = parse_bandwidth(rest, where=where) if rest.strip() else None
    return NetworkOverride(catalog.fabric(name), n_nics, rate, oversubscription)


def parse_bandwidth(text: str, *, where: str) -> float:
    """Read the line rate of a link [bytes/s].

    Raises
    ------
    UnitError
        Not a bandwidth.
    ScenarioError
        Zero, negative, or more or less than any link has.
    """
    try:
        rate = parse(text, BANDWIDTH)
    except UnitError as error:
        raise error.at(where) from None
    if not LEAST_BYTES_PER_S <= rate <= MOST_BYTES_PER_S:
        what = "the bandwidth of a link is more than zero" if rate <= 0 else "no link has this bandwidth"
        raise ScenarioError(
            what, where=where, value=text,
            rule=f"{format_bandwidth(LEAST_BYTES_PER_S)} to {format_bandwidth(MOST_BYTES_PER_S)}",
            fix="write it like 25Gbit/s or 3GB/s",
        )  # fmt: skip
    return rate
