"""What a server is told: where it listens, whom it lets in, what one question may take."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planner.serve.pages.form import Form
from planner.serve.process import Bounds

_MIB = 2**20


@dataclass(frozen=True)
class Settings:
    """Settings of `planner serve`.

    Attributes
    ----------
    host : str
        Address or name that is listened on.
    port : int
        Of TCP.
    token : str or None
        Every request must have it; None: none is asked for, which only a loopback address may do.
    names : tuple of str
        Further names by which this machine is called, such as that of a proxy before it.
    catalog, overlay : Path or None
        Overlay folders of the catalog: one that is read, and one that the price page writes into and that wins.
    upload_bytes, json_bytes : int
        Of the body of one request: with files, and without.
    run_s : float
        That one question may run.
    memory_bytes : int
        Of address space of each process of a question.
    answer_bytes : int
        That one question may print.
    running, lookups, waiting : int
        Questions that run at once, look-ups in the catalog that do so beside them, and questions of either kind that
        wait at most.
    kept, kept_bytes : int
        Finished questions whose answers are kept at most, and what these take.
    connections : int
        At once.
    forms : mapping
        Options of the commands that the pages ask, by command.
    """

    host: str = "127.0.0.1"
    port: int = 8350
    token: str | None = None
    names: tuple[str, ...] = ()
    catalog: Path | None = None
    overlay: Path | None = None
    upload_bytes: int = 64 * _MIB
    json_bytes: int = 8 * _MIB
    run_s: float = 900.0
    memory_bytes: int = 4096 * _MIB
    answer_bytes: int = 64 * _MIB
    running: int = os.cpu_count() or 1
    lookups: int = 2
    waiting: int = 64
    kept: int = 200
    kept_bytes: int = 256 * _MIB
    connections: int = 256
    forms: Mapping[str, Form] = field(default_factory=dict, repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can connect."""
        return is_loopback(self.host)

    @property
    def catalogs(self) -> tuple[Path, ...]:
        """Overlay folders of the catalog that are only read."""
        return () if self.catalog is None else (self.catalog,)

    @property
    def bounds(self) -> Bounds:
        """What one question may take."""
        return Bounds(
            run_s=self.run_s, memory_bytes=self.memory_bytes, answer_bytes=self.answer_bytes, is_confined=True
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    bare = host.strip("[]").rstrip(".").casefold()
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"
