"""Questions over HTTP: the fields in, the JSON that the command prints out, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile

from planner.errors import UnknownNameError
from planner.parsing import check_text
from planner.serve.api_page import body_of
from planner.serve.asked import questions
from planner.serve.confinement import check_file_name
from planner.serve.guard import too_large
from planner.serve.jobs import Job, Jobs
from planner.serve.process import Answer
from planner.serve.questions import Question
from planner.serve.refusals import RequestError, status_of
from planner.serve.settings import Settings

PREFIX = "/api/v1"
_MOST_FILES = 8
_CHUNK_BYTES = 2**20

Files = Callable[[Path], Awaitable[object]]


def api_router(jobs: Jobs, settings: Settings) -> APIRouter:
    """Routes under `/api/v1`."""
    router = APIRouter(prefix=PREFIX)
    known = questions()

    def answering(question: Question) -> Callable[[Request], Awaitable[Response]]:
        async def ask(request: Request) -> Response:
            fields, files = await asked(request, settings)
            return reply(question, await unless_gone(request, jobs.answer(question, fields, files)))

        return ask

    def beginning(question: Question) -> Callable[[Request], Awaitable[Response]]:
        async def begin(request: Request) -> Response:
            fields, files = await asked(request, settings)
            job = await jobs.start(question, fields, files)
            where = f"{PREFIX}/jobs/{job.id}"
            return JSONResponse(record_of(job), status_code=202, headers={"location": where})

        return begin

    async def look_up(request: Request, name: str, fields: dict[str, Any]) -> Response:
        question = known[name]
        answer = await unless_gone(request, jobs.answer(question, fields))
        is_unknown = answer.is_error and answer.data["error"]["error"] == UnknownNameError.__name__
        return reply(question, answer, 404 if is_unknown else None)

    for name, question in known.items():
        if name.startswith("catalog_"):
            continue
        about: dict[str, Any] = {
            "summary": question.title, "description": question.description,
            "openapi_extra": {"requestBody": body_of(question)},
        }  # fmt: skip
        router.add_api_route(f"/{name}", answering(question), methods=["POST"], name=name, **about)
        router.add_api_route(f"/jobs/{name}", beginning(question), methods=["POST"], name=f"job_{name}", **about)

    @router.get("/jobs/{id}", summary="How far a job is, and its answer")
    async def job(id: str) -> Response:
        return JSONResponse(record_of(jobs.get(id)))

    @router.get("/jobs/{id}/answer", summary="The answer of a job alone, as the command prints it")
    async def job_answer(id: str) -> Response:
        found = jobs.get(id)
        if found.answer is None:
            raise RequestError(
                f"the job has no answer: it is {found.state}", 409, where="id", fix="ask for the job until it is done"
            )
        return reply(found.question, found.answer)

    @router.delete("/jobs/{id}", summary="Cancel a job")
    async def cancel(id: str) -> Response:
        return JSONResponse(record_of(await jobs.cancel(id)))

    @router.get("/catalog", summary="Names of all entries of the catalog")
    async def catalog(request: Request) -> Response:
        return await look_up(request, "catalog_list", {})

    @router.get("/catalog/{kind}", summary="Entries of one kind with their main figures")
    async def catalog_kind(request: Request, kind: str) -> Response:
        return await look_up(request, "catalog_list", {"kind": kind})

    @router.get("/catalog/{kind}/{name}", summary="Every field of one entry")
    async def catalog_entry(request: Request, kind: str, name: str) -> Response:
        return await look_up(request, "catalog_show", {"kind": kind, "name": name})

    return router


def reply(question: Question, answer: Answer, status: int | None = None) -> Response:
    """An answer with the bytes that the command printed, or those of the file that it wrote."""
    if answer.content is not None and question.result is not None:
        return Response(
            answer.content, media_type=question.result.media_type,
            headers={"content-disposition": f'attachment; filename="{question.result.name}"'},
        )  # fmt: skip
    return Response(
        answer.text, status_code=status or status_of(answer), media_type="application/json",
        headers={"x-planner-exit-code": str(answer.exit_code)},
    )  # fmt: skip


def record_of(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    return {
        "id": job.id,
        "question": job.question.name,
        "state": job.state,
        "progress": job.progress,
        "exit_code": None if job.answer is None else job.answer.exit_code,
        "answer": None if job.answer is None else job.answer.data,
    }


async def unless_gone(request: Request, asking: Awaitable[Answer]) -> Answer:
    """Wait for an answer as long as somebody waits for it; then the question is stopped."""
    answering = asyncio.ensure_future(asking)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise RequestError("nobody waits for the answer", 499)
        return await answering
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.wait([answering, leaving])


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def asked(request: Request, settings: Settings) -> tuple[dict[str, Any], Files | None]:
    """Fields and files of a question: a body of JSON, or a form with `fields` (JSON) and files.

    Raises
    ------
    RequestError
        Another type of body (415), a body that is too long (413) or cannot be read (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind == "application/json":
        return fields_in(await _body(request, settings.json_bytes)), None
    if kind == "multipart/form-data":
        form = await request.form(max_files=_MOST_FILES, max_fields=4, max_part_size=settings.json_bytes)
        fields = fields_in(str(form.get("fields") or "{}").encode())
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        names = [check_file_name(file.filename or "") for file in files]
        if len({name.casefold() for name in names}) < len(names):
            raise RequestError("two files of one name", 422, where="file", value=", ".join(names)[:200])
        return fields, lambda folder: _put(files, folder)
    raise RequestError(
        "not a type of request that is read", 415, where="Content-Type", value=kind[:100] or "none",
        rule="application/json, or multipart/form-data with `fields` and files",
    )  # fmt: skip


async def _body(request: Request, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise too_large(most_bytes)
        parts.append(part)
    return b"".join(parts)


async def _put(files: list[UploadFile], folder: Path) -> None:
    for file in files:
        with (folder / str(file.filename)).open("xb") as target:
            while part := await file.read(_CHUNK_BYTES):
                target.write(part)
        await file.close()


def fields_in(body: bytes) -> dict[str, Any]:
    """Fields of a question in JSON.

    Raises
    ------
    RequestError
        Not JSON (HTTP 422), no object, a field given twice, a number that is none.
    """
    try:
        text = body.decode("utf-8-sig")
        check_text(text, "body")
        found = json.loads(text or "{}", object_pairs_hook=_once, parse_constant=_no_number)
    except ValueError as error:
        raise RequestError("not JSON", 422, where="body", value=str(error)[:200]) from None
    if not isinstance(found, dict):
        raise RequestError("not the fields of a question", 422, where="body", rule="an object of JSON")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RequestError("a field is given twice", 422, where=name[:100])
        found[name] = value
    return found


def _no_number(text: str) -> Any:
    raise RequestError("not a number", 422, where="body", value=text)
