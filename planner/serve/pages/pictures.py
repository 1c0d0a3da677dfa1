"""Pictures that commands draw, shown beside their answers."""

from __future__ import annotations

from importlib.util import find_spec

from planner.serve.jobs import Job
from planner.serve.questions import Result

_PICTURE = Result("picture.svg", "picture.svg", "image/svg+xml", is_beside=True)
_CAN_DRAW = find_spec("matplotlib") is not None
# Commands that draw one, where the extra `plot` is installed.
WITH_PICTURE: dict[str, Result] = (
    {name: _PICTURE for name in ("sensitivity", "frontier", "map regime", "simulate")} if _CAN_DRAW else {}
)
# A picture brings its own style, and nothing else.
PICTURE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; font-src data:; img-src data:; sandbox"
}


def picture_of(job: Job) -> str | None:
    """Where the picture of an answer is; None if it has none."""
    has_one = job.answer is not None and job.answer.content is not None and job.question.result == _PICTURE
    return f"/picture/{job.id}" if has_one else None
