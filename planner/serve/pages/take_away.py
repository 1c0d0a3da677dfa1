"""What is taken away of an answer: files that the commands write, byte for byte."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from planner.errors import UnknownNameError
from planner.serve.api import reply, unless_gone
from planner.serve.asked import questions
from planner.serve.pages.asking import Desk
from planner.serve.pages.drawing import is_plan
from planner.serve.pages.pictures import PICTURE_HEADERS
from planner.serve.refusals import RequestError

FORMS = {"json": "JSON", "xlsx": "Excel workbook", "html": "Page", "csv": "Tables (CSV)"}
TARGETS = {
    "vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM", "dynamo": "Dynamo", "llm-d": "llm-d",
    "kserve": "KServe",
}  # fmt: skip


def take_away_router(desk: Desk) -> APIRouter:
    """Routes of downloads and pictures."""
    router = APIRouter(include_in_schema=False)

    @router.get("/take-away/{id}/{kind}")
    async def take_away(request: Request, id: str, kind: str) -> Response:
        job = desk.jobs.get(id)
        if job.answer is None or job.answer.is_error or not job.answer.text:
            raise RequestError("there is no answer to take away", 409, value=job.state, fix="wait until it is there")
        name = re.sub(r"[^a-z]+", "-", job.question.name)
        if kind == "json":
            return Response(
                job.answer.text, media_type="application/json",
                headers={"content-disposition": f'attachment; filename="{name}.json"'},
            )  # fmt: skip
        fields: dict[str, Any]
        if kind in FORMS:
            question, fields = questions()[f"export_{kind}"], {"result": job.answer.data}
        elif kind in TARGETS and is_plan(job.answer.data):
            question, fields = questions()["deploy"], {"plan_result": job.answer.data, "target": kind}
        else:
            raise UnknownNameError.of("kind of file", kind[:100], [*FORMS, *TARGETS], where="kind")
        found = await unless_gone(
            request, desk.jobs.answer(question, fields, desk.uploads.putting(desk.of_file.get(id)))
        )
        if found.content is None:
            raise _refused(found.data["error"])
        return reply(question, found)

    @router.get("/picture/{id}")
    async def picture(id: str) -> Response:
        job = desk.jobs.get(id)
        if job.answer is None or job.answer.content is None or job.question.result is None:
            raise RequestError("this answer has no picture", 404)
        return Response(job.answer.content, media_type=job.question.result.media_type, headers=PICTURE_HEADERS)

    return router


def _refused(record: dict[str, Any]) -> RequestError:
    more = {name: record.get(name) for name in ("where", "value", "rule", "fix")}
    return RequestError(str(record.get("what")), 422, **more)
