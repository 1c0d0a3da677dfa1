"""What suppliers call a machine, matched with the catalog only where every word of it is accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Accelerator, Machine

# Words that say nothing about which machine it is.
_FILLERS = frozenset((
    "nvidia", "amd", "intel", "google", "gpu", "gpus", "server", "servers", "system", "systems", "node", "nodes",
    "machine", "machines", "instance", "instances", "with", "and", "the", "a", "of", "tensor", "core", "accelerator",
    "accelerators", "mit", "und", "avec", "et", "serveur", "maschine", "tpu",
))  # fmt: skip
_FORMS = ("sxm", "sxm2", "sxm3", "sxm4", "sxm5", "sxm6", "hgx", "oam")  # of boards that carry eight


@dataclass(frozen=True)
class _Known:
    machine: str
    site: str
    words: frozenset[str]
    n_accelerators: int
    accelerator: str
    memory_gb: int


class MachineNames:
    """The machines of a catalog by whatever a file may call them.

    Parameters
    ----------
    catalog : Catalog
    names : mapping of str to str
        What the file calls a machine to its name in the catalog; goes before everything else.
    """

    def __init__(self, catalog: Catalog, names: Mapping[str, str]) -> None:
        self.names = catalog.names(Machine)
        self.given = {theirs.casefold() for theirs in names}
        self._exact = {name.casefold(): name for name in self.names}
        self._exact |= {theirs.casefold(): ours for theirs, ours in names.items()}
        self._known = []
        for name in self.names:
            machine = catalog.machine(name)
            accelerator = catalog.accelerator_of(machine)
            self._known.append(_Known(
                name, machine.site, frozenset(_words(name)), int(machine.n_accelerators), machine.accelerator,
                accelerator.sold_as_gb,
            ))  # fmt: skip
        self.accelerator_words = frozenset(
            word for name in catalog.names(Accelerator) for word in [name.split("-")[0]] if re.search(r"\d", word)
        )

    def find(self, text: str, provider: str = "", n_accelerators: int | None = None) -> tuple[str | None, list[str]]:
        """Return the machine that a text means, and those that it may mean where it is not sure.

        Parameters
        ----------
        text : str
            `dgx-h100`, `NVIDIA DGX H100 640GB`, `8x H200`.
        provider : str
            Whose machine it is: a machine of another provider is not taken for it.
        n_accelerators : int, optional
            How many accelerators it has, where another column says so.
        """
        exact = self._exact.get(" ".join(text.casefold().split()))
        if exact is not None:
            return exact, []
        words = _words(text)
        count = next((int(m[1]) for w in words if (m := re.fullmatch(r"(\d{1,2})x", w))), n_accelerators)
        found = [k for k in self._known if self._means(k, words, count)]
        names = [k.machine for k in found]
        told = {word for word in words if not re.fullmatch(r"\d{1,2}x", word)}
        if not any(told & (k.words - set(_words(k.accelerator))) for k in found):
            # Told by the accelerator alone, of which there may be several: A100 of 40 GB and of 80 GB.
            chips = {k.accelerator: k.memory_gb for k in found}
            if len(set(chips.values())) > 1:
                return None, names
        theirs = [k for k in found if _is_site(k.site, provider) or set(_words(k.site)) <= told]
        found = theirs or [k for k in found if k.site == "own"]
        if len(found) > 1:  # the plain machine goes before a variant of it, such as one with a power cap
            plainest = min(found, key=lambda k: len(k.words))
            found = [plainest] if all(plainest.words <= k.words for k in found) else found
        return (found[0].machine, []) if len(found) == 1 else (None, names)

    def _means(self, known: _Known, words: list[str], count: int | None) -> bool:
        """Whether every word fits: the machine's own name, or its accelerator with how many it has."""
        rest = [w for w in words if w not in _FILLERS]
        if not rest:
            return False
        accelerator = set(_words(known.accelerator))
        named = {w for w in rest if w in known.words}
        chip = next(iter(_words(known.accelerator)))
        is_named = known.words <= set(rest) | {f"{known.n_accelerators}x"}
        is_counted = count == known.n_accelerators and chip in rest and "dgx" not in rest
        if not (is_named or is_counted):
            return False
        for word in rest:
            if word in named or word in accelerator or word == f"{known.n_accelerators}x":
                continue
            if word in _FORMS and ("sxm" in accelerator or "mi300x" in accelerator):
                continue
            if re.fullmatch(r"(\d+)gb", word) and int(word[:-2]) in _memories(known):
                continue
            return False
        return True


def _memories(known: _Known) -> tuple[int, int]:
    return known.memory_gb, known.memory_gb * known.n_accelerators


def _is_site(site: str, provider: str) -> bool:
    return bool(provider) and site.casefold() in re.sub(r"[^a-z0-9]+", "", provider.casefold())


def _words(text: str) -> list[str]:
    """The words of a name; `8 x H100`, `8xH100` and `8*H100` are `8x h100`, and `80 GB` is `80gb`."""
    lower = re.sub(r"\b(\d{1,2})\s*[x×*]\s*(?=[a-z])", r"\1x ", text.casefold())
    lower = re.sub(r"\b(\d+)\s*(?:gb|g)\b(?!/)", r"\1gb", lower)
    return re.findall(r"[a-z0-9]+", lower)
