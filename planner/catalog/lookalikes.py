"""Words of the catalog that group entries, and those that are written almost like another.

An architecture shares efficiencies, a site shares a network, a provider shares a bill. They are free words, so a
slip of the keyboard makes a group of its own, in silence: `blackwel` is planned with a runtime's defaults, and a
machine at `Own` exchanges nothing with those at `own`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from planner.catalog.plausibility import Remark, Severity
from planner.catalog.schema import Accelerator, Entry, Machine, PriceBook, Runtime

# Kind of entry and field -> what a near miss is: nothing but a slip, or perhaps a name of its own.
_GROUPING: tuple[tuple[type[Entry], str, Severity], ...] = (
    (Accelerator, "architecture", "error"),
    (Accelerator, "vendor", "warning"),
    (Machine, "site", "warning"),
    (PriceBook, "provider", "warning"),
)


def lookalikes(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Remark]]:
    """Yield the entries whose grouping word is almost that of others, which are more or came first."""
    for kind, field, severity in _GROUPING:
        members = [entry for entry in entries if isinstance(entry, kind)]
        counts = Counter(str(getattr(entry, field)) for entry in members)
        if field == "architecture":
            counts.update(name for entry in entries if isinstance(entry, Runtime) for name in entry.architectures)
        for entry in members:
            word = str(getattr(entry, field))
            others = [other for other, n in counts.items() if other != word and n >= counts[word]]
            same = [other for other in others if _folded(other) == _folded(word)]
            near = same or [other for other in others if _is_slip(word, other)]
            if near:
                meant = max(near, key=lambda other: counts[other])
                message = f"{field}: {word!r} is another {field} than {meant!r}; did you mean: {meant}?"
                yield entry, ("error" if same else severity, field, message)


def _folded(word: str) -> str:
    return re.sub(r"[\s_.-]+", "", word.casefold())


def _is_slip(word: str, other: str) -> bool:
    """Whether one letter was added, left out, changed or swapped with the next; other digits are other names."""
    a, b = _folded(word), _folded(other)
    if re.sub(r"\D", "", a) != re.sub(r"\D", "", b) or min(len(a), len(b)) < 4 or abs(len(a) - len(b)) > 1:
        return False
    start = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
