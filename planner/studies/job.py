"""One scenario with all that a process elsewhere needs to plan it: the item of whatever plans many."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from planner._version import __version__
from planner.catalog.catalog import Catalog
from planner.errors import PlannerError
from planner.scenario.load import is_catalog_workload
from planner.scenario.opened import Asked
from planner.scenario.resolve import Problem
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario

# A solver runs alone in its process: the threads of a Dask worker take turns.
ALONE = threading.Lock()


@dataclass(frozen=True)
class Job:
    """A scenario, its catalog and its files as they were where the work began.

    Attributes
    ----------
    scenario : str
        As `Scenario.dump` gives it, in JSON, its overlays left out and its files under whole paths.
    overlays : tuple of str
        Folders of the catalog, whole paths.
    catalog_digest : str
        Of the catalog.
    files : tuple of (str, str, str)
        Field of the scenario, file that it names, and the file's digest.
    version : str
        Of planner.
    """

    scenario: str
    overlays: tuple[str, ...]
    catalog_digest: str
    files: tuple[tuple[str, str, str], ...]
    version: str = __version__

    @classmethod
    def of(cls, asked: Asked) -> Job:
        """The job of a scenario."""
        files = tuple((field, path, _digest(path, _stamp(path))) for field, path in _files_of(asked).items())
        dumped = asked.scenario.dump() | {"catalog": []} | {field: path for field, path, _ in files}
        overlays = tuple(str(path.resolve()) for path in asked.catalog.overlays)
        return cls(json.dumps(dumped, sort_keys=True), overlays, asked.catalog.digest()[:16], files)

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on: scenario, catalog, files, version; not where they lie."""
        dumped = json.loads(self.scenario) | {field: Path(path).name for field, path, _ in self.files}
        content = [dumped, self.catalog_digest, [digest for _, _, digest in self.files], self.version]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def asked(self) -> Asked:
        """The scenario with its catalog, in whichever process this is.

        Raises
        ------
        PlannerError
            This process has another version of planner, another catalog or other files than where the work began.
        """
        if self.version != __version__:
            raise PlannerError(
                f"a worker has planner {__version__}, and the work is of {self.version}",
                fix="install one version everywhere",
            )
        catalog = _catalog_at(self.overlays, self.catalog_digest)
        if catalog.digest()[:16] != self.catalog_digest:
            raise PlannerError(
                f"a worker has another catalog ({catalog.digest()[:16]}) than where the work began "
                f"({self.catalog_digest})",
                value=", ".join(self.overlays) or "the built-in one",
                rule="overlays are read where the work is done, and stay as they are while it lasts",
                fix="put them where every worker finds them under the same path",
            )
        for _, path, expected in self.files:
            if _digest(path, _stamp(path)) != expected:
                raise PlannerError(
                    "a worker sees another file than the work began with, or none", value=path,
                    fix="put it where every worker finds it under the same path",
                )  # fmt: skip
        return Asked(_scenario(self.scenario), catalog)

    def resolved(self) -> Problem:
        """The problem; raises as `asked` and `resolve`."""
        return self.asked().resolved()


def _files_of(asked: Asked) -> dict[str, str]:
    """Fields of a scenario that name files, as whole paths."""
    scenario, files = asked.scenario, {}
    if not is_catalog_workload(scenario.workload, asked.catalog):
        files["workload"] = str(Path(scenario.workload).resolve())
    if scenario.profile:
        files["profile"] = str(Path(scenario.profile).resolve())
    return files


@lru_cache(maxsize=64)
def _scenario(dumped: str) -> Scenario:
    return load_scenario(json.loads(dumped))


@lru_cache(maxsize=64)
def _catalog_at(overlays: tuple[str, ...], digest: str) -> Catalog:
    """A catalog that is read once for many scenarios; anew where another content (`digest`) is expected."""
    return Catalog(overlays)


def _stamp(path: str) -> tuple[int, int]:
    try:
        state = Path(path).stat()
    except OSError:
        return (0, 0)
    return (state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _digest(path: str, stamp: tuple[int, int]) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return "unreadable"
