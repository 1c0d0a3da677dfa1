"""Damage done to documents that were sound: deterministic by seed, aware of the structure it damages."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[Any, ...]

ODD_TEXTS = (
    "", " ", "null", "~", "-", "0", "-1", "1e400", "nan", "inf", "-inf", "1,5", "1.5.5",
    "\u0661\u0662", "\u202egnp", "x" * 300,
    "9" * 400, "../../etc/passwd", "=1+1", "<script>", "%s%n", "{}", "[]", "\t", "é", "a\nb", "40 GB", "40 Gb",
    "-3 GB/s",
    "1 USD/h", "-1 USD/h", "0 USD/h", "$", "2023-13-45", "9999-12-31", "yes", "no", "10 furlongs", "1e3", "true",
)  # fmt: skip
ODD_NUMBERS = (0, -1, -0.5, 1, 2, 3.7, 1e-300, 1e300, 2**31, 2**63, 10**30, -(10**9), 0.1)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"a": {"b": 1}},
    [None],
    [1, "a"],
    *ODD_NUMBERS,
    *ODD_TEXTS,
)


def leaves(data: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all that can be replaced: every key and item."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from leaves(value, (*path, key))


def holder(data: Any, path: Path) -> Any:
    """What holds the last part of a path."""
    for part in path[:-1]:
        data = data[part]
    return data


def damaged(data: Any, rng: random.Random, most: int = 2) -> Any:
    """A copy with one to `most` faults."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, most)):
        places = list(leaves(data))
        if not places:
            break
        _damage(data, rng.choice(places), rng)
    return data


def _damage(data: Any, path: Path, rng: random.Random) -> None:
    inside, key = holder(data, path), path[-1]
    kind = rng.randrange(8)
    if kind == 0:
        del inside[key]
    elif kind == 1 and isinstance(inside, dict):
        value = inside.pop(key)
        inside[_misspelt(str(key), rng)] = value
    elif kind == 2:
        inside[key] = [inside[key]] * rng.randint(1, 3)
    elif kind == 3 and isinstance(inside[key], (int, float)) and not isinstance(inside[key], bool):
        inside[key] = rng.choice([-inside[key], 0, inside[key] * 1e6, inside[key] * 1e-6, str(inside[key])])
    elif kind == 4 and isinstance(inside[key], str):
        inside[key] = _scratched(inside[key], rng)
    elif kind == 5 and isinstance(inside, dict):
        inside[rng.choice(["extra", "Extra", "", "source ", "x" * 300, "a.b", "1"])] = rng.choice(ODD_VALUES)
    else:
        inside[key] = copy.deepcopy(rng.choice(ODD_VALUES))


def _misspelt(text: str, rng: random.Random) -> str:
    n = rng.randrange(len(text) + 1)
    return rng.choice([text[:n] + text[n + 1 :], text.upper(), text + "s", text[:n] + "_" + text[n:], ""])


def _scratched(text: str, rng: random.Random) -> str:
    n = rng.randrange(len(text) + 1)
    piece = rng.choice(
        [" ", "-", ",", ".", "0", "9", "%", "e", "k", "/", "\u00a0", "\uff11", "\x1b[2J", "'", '"', "\n"]
    )
    return rng.choice([text[:n] + piece + text[n:], text[:n], text[n:], "-" + text, text.swapcase(), text + text])


def scratched_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes cut short, with some changed, repeated, or in another encoding."""
    kind = rng.randrange(6)
    n = rng.randrange(len(content) + 1)
    if kind == 0:
        return content[:n]
    if kind == 1:
        return content[:n] + bytes(rng.randrange(256) for _ in range(rng.randint(1, 4))) + content[n:]
    if kind == 2:
        return b"\xef\xbb\xbf" + content
    if kind == 3:
        return content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "cp1252", "latin-1"]), "replace")
    if kind == 4:
        return content[:n] + content[: rng.randrange(len(content) + 1)] + content[n:]
    return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"", b"\n\n"]))


def as_yaml(data: Any) -> str:
    """JSON, which is YAML as well; every value stands as it is."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=True, default=str)
