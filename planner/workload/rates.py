"""How much comes, in people's words: requests in any time, or tokens in or out."""

from __future__ import annotations

import re
from typing import Literal

from planner import units
from planner.errors import UnitError

TokenSide = Literal["prompt", "output", "total"]
_SIDES: dict[str, TokenSide] = {
    "in": "prompt", "input": "prompt", "prompt": "prompt", "prefill": "prompt",
    "out": "output", "output": "output", "generated": "output", "completion": "output", "decode": "output",
    "total": "total", "all": "total", "in+out": "total",
}  # fmt: skip
_TOKENS = re.compile(
    r"(?P<multiple>[kKMB]?)\s*(?P<before>[a-z+]*)\s*[- ]?(?:tokens?|toks?|tps)\b\s*(?P<middle>[a-z+]*)\s*"
    r"(?P<time>/\s*[a-z]+)?\s*(?P<behind>[a-z+]*)\s*",
    re.IGNORECASE,
)
TOKEN_RATE_EXAMPLE = "5000 output tokens/s"


def is_token_rate(text: object) -> bool:
    """Whether a text is a rate of tokens rather than of requests."""
    return isinstance(text, str) and bool(re.search(r"tok|tps", text, re.IGNORECASE))


def read_token_rate(text: str, *, where: str) -> tuple[float, TokenSide]:
    """Read `20k output tokens/s` as a rate [tokens/s] and whose tokens they are.

    Raises
    ------
    UnitError
        Not in that form, or tokens of which it is not said whether they go in or out.
    """
    example = f"write it like '{TOKEN_RATE_EXAMPLE}', or with input or total in the place of output"
    found = units.split_number(text)
    match = _TOKENS.fullmatch(re.sub(r"\bper\b", "/", found[1])) if found else None
    if found is None or match is None:
        raise UnitError("not a rate of tokens", where=where, value=repr(text), fix=example)
    sides = [word.casefold() for word in (match["before"], match["middle"], match["behind"]) if word]
    named = {_SIDES[word] for word in sides if word in _SIDES}
    if len(named) != 1 or len(named) < len(sides):
        raise UnitError(
            "tokens that go in, or come out?", where=where, value=repr(text),
            rule="a rate of tokens says which: input, output or total", fix=example,
        )  # fmt: skip
    time = re.sub(r"[\s/]", "", match["time"] or "")
    seconds = 1.0 if not time else units.TIME.units.get(time)
    if seconds is None or (not time and "tps" not in text.casefold()):
        raise UnitError("a rate of tokens needs its time", where=where, value=repr(text), fix=example)
    multiple = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}[match["multiple"]]
    return found[0] * multiple / seconds, named.pop()
