"""What may go wrong after a cluster was bought: another mix of requests, growth, bursts, lost machines and racks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Workload
from planner.errors import ScenarioError, UnknownNameError
from planner.scenario.changes import Change, load_of, other_workload, setting
from planner.scenario.cluster import Cluster
from planner.scenario.load import is_catalog_workload
from planner.scenario.resolve import Problem
from planner.scenario.scenario_file import is_trace_file

KINDS = ("mix", "growth", "burst", "machine", "rack")
AZURE_TRACES = ("azure-conv-2023", "azure-code-2023")
DEFAULT_GROWTH = (0.10, 0.25, 0.50)
DEFAULT_BURSTS = (2.0, 3.0)
RACK_UNITS = 42  # of a common rack
_MOST_GROWTH = 10.0
_MOST_CV = 30.0


@dataclass(frozen=True)
class Mishap:
    """One thing that goes wrong.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or `none`: the cluster under the load it was planned for.
    title : str
    load : float
        Of the planned rate.
    workload : str or None
        Another workload; with `share` below 1, that share of the requests, the planned workload the rest.
    share : float
    arrival_cv2 : float or None
        Another squared coefficient of variation of the gaps between arrivals.
    lost : mapping of int to int
        Pool of the cluster -> machines that are gone.
    """

    kind: str
    title: str
    load: float = 1.0
    workload: str | None = None
    share: float = 1.0
    arrival_cv2: float | None = None
    lost: dict[int, int] = field(default_factory=dict)

    @property
    def traffic(self) -> Change:
        """The scenario with what of it makes other requests."""
        change = setting() if self.workload is None else other_workload(self.workload, self.share)
        return change if self.arrival_cv2 is None else change.then(setting(arrival_cv2=self.arrival_cv2))

    @property
    def change(self) -> Change:
        """The scenario that the cluster then faces; machines that are lost are of the cluster, and no scenario's."""
        return self.traffic.then(load_of(self.load))


AS_PLANNED = Mishap("none", "as planned")


def mishaps_of(
    problem: Problem,
    cluster: Cluster,
    mixes: Sequence[str] | None = None,
    growth: Sequence[float] | None = None,
    bursts: Sequence[float] | None = None,
    rack: int | None = None,
    only: Sequence[str] | None = None,
) -> tuple[list[Mishap], list[str]]:
    """The mishaps asked for, the default ones where nothing is, and notes about what is left out.

    Raises
    ------
    ScenarioError, UnknownNameError
        As `planner.robustness`; `where` is the parameter.
    """
    chosen = _kinds(only)
    given = {"mix": mixes, "growth": growth, "burst": bursts, "rack": rack}
    for kind, value in given.items():
        if value is not None and kind not in chosen:
            raise ScenarioError(
                f"{kind} is described and left out", where="only", value=", ".join(chosen), fix=f"add {kind} to it"
            )
    found, notes = [AS_PLANNED], list[str]()
    if "mix" in chosen:
        found += _mixes(problem, mixes)
    if "growth" in chosen:
        found += _growth(DEFAULT_GROWTH if growth is None else growth)
    if "burst" in chosen:
        found += _bursts(DEFAULT_BURSTS if bursts is None else bursts)
    if "machine" in chosen:
        found += [_loss("machine", cluster, i, 1) for i in range(len(cluster.pools))]
    if "rack" in chosen:
        racks, notes = _racks(problem.catalog, cluster, rack)
        found += racks
    return found, notes


def _kinds(only: Sequence[str] | None) -> tuple[str, ...]:
    for name in only or ():
        if name not in KINDS:
            raise UnknownNameError.of("kind of mishap", name, KINDS, where="only")
    return KINDS if not only else tuple(kind for kind in KINDS if kind in only)


def _mixes(problem: Problem, mixes: Sequence[str] | None) -> Iterator[Mishap]:
    planned, catalog = problem.scenario.workload, problem.catalog
    names = [n for n in AZURE_TRACES if n != planned and n in catalog.names(Workload)] if mixes is None else mixes
    for name in dict.fromkeys(names):
        if not is_catalog_workload(name, catalog) and not is_trace_file(name):
            raise UnknownNameError.of("workload", name, catalog.names(Workload), where="mixes")
        if name == planned:
            raise ScenarioError(
                "that is the mix planned for", where="mixes", value=name, rule="another workload",
                fix="name another: planner catalog list workloads",
            )  # fmt: skip
        yield Mishap("mix", f"{name} instead", workload=name)
        yield Mishap("mix", f"half of it {name}", workload=name, share=0.5)


def _growth(shares: Sequence[float]) -> Iterator[Mishap]:
    for share in sorted(dict.fromkeys(shares)):
        if not -1 < share <= _MOST_GROWTH:
            raise ScenarioError(
                "not a growth of the load", where="growth", value=f"{100 * share:.6g} %",
                rule=f"above -100 % (no load at all), at most {100 * _MOST_GROWTH:g} %",
                fix=f"write {share:g} % for that many in a hundred" if share > 1 else None,
            )  # fmt: skip
        yield Mishap("growth", f"load {100 * share:+.6g} %", load=1.0 + share)


def _bursts(cvs: Sequence[float]) -> Iterator[Mishap]:
    for cv in sorted(dict.fromkeys(cvs)):
        if not 0 < cv <= _MOST_CV:
            raise ScenarioError(
                "not a coefficient of variation of arrivals", where="bursts", value=f"{cv:g}",
                rule=f"above 0, at most {_MOST_CV:g}; 1 is Poisson", fix="write 2 for bursts of twice Poisson's spread",
            )  # fmt: skip
        yield Mishap("burst", f"arrivals of CV {cv:g}", arrival_cv2=cv * cv)


def _loss(kind: str, cluster: Cluster, i: int, n: int) -> Mishap:
    pool = cluster.pools[i]
    bought = pool.count + pool.spares
    which = f"all {bought}" if n == bought and n > 1 else "the only" if n == bought else f"{n} of {bought}"
    return Mishap(kind, f"{which} {pool.machine} {pool.role} lost", lost={i: n})


def _racks(catalog: Catalog, cluster: Cluster, rack: int | None) -> tuple[list[Mishap], list[str]]:
    bought = [pool.count + pool.spares for pool in cluster.pools]
    if rack is not None and not 1 <= rack <= max(bought):
        raise ScenarioError(
            "no pool fills such a rack" if rack > 0 else "not a number of machines", where="rack", value=rack,
            rule=f"1 to {max(bought)} machines, the largest pool",
            fix="leave it out for as many as fill 42 rack units",
        )  # fmt: skip
    found, notes = [], []
    for i, pool in enumerate(cluster.pools):
        units = catalog.machine(pool.machine, where="cluster").rack_units
        if rack is None and units is None:
            notes.append(f"no rack of {pool.machine} is lost: its rack units are not known (--rack says how many)")
            continue
        n = min(rack if rack is not None else max(RACK_UNITS // (units or 1), 1), bought[i])
        if n > 1:  # a rack of one is a machine
            found.append(_loss("rack", cluster, i, n))
    return found, list(dict.fromkeys(notes))


def cluster_under(mishap: Mishap, cluster: Cluster) -> Cluster | None:
    """The cluster without the machines that are lost, spares first; None where none is left."""
    pools = []
    for i, pool in enumerate(cluster.pools):
        n = mishap.lost.get(i, 0)
        left = pool.count - max(n - pool.spares, 0)
        if left > 0:
            weight = None if pool.rate_per_s is None else pool.rate_per_s * left / pool.count
            pools.append(
                pool.model_copy(update={"count": left, "spares": max(pool.spares - n, 0), "rate_per_s": weight})
            )
    return Cluster(pools=tuple(pools)) if pools else None


def owned_under(mishap: Mishap, cluster: Cluster) -> dict[str, int]:
    """Machines of each type that are left, spares included."""
    owned: dict[str, int] = {}
    for i, pool in enumerate(cluster.pools):
        owned[pool.machine] = owned.get(pool.machine, 0) + pool.count + pool.spares - mishap.lost.get(i, 0)
    return owned
