"""The page Plan: a form, its answer, and what may be asked about the answer."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from planner.errors import PlannerError, UnknownNameError
from planner.serve.asked import questions
from planner.serve.jobs import Job
from planner.serve.pages.asking import Desk, link_of, posted, with_file
from planner.serve.pages.drawing import answer_body, is_plan, page, python_text, seconds
from planner.serve.pages.form import fields_of
from planner.serve.pages.layout import groups_of
from planner.serve.pages.pictures import WITH_PICTURE, picture_of
from planner.serve.pages.take_away import FORMS, TARGETS
from planner.serve.refusals import RequestError, status_of

# What may be asked about a plan, each by the command of that name with the options of the form.
STUDIES = {
    "why": ("Why not the others?", "Why each other machine is not in the plan, and what it would take"),
    "sensitivity": ("How sure is it?", "How the plan changes with errors of its inputs, and what flips the decision"),
    "frontier": ("Trade-offs", "All trade-offs between cost and power"),
    "map regime": ("Which design where?", "The design that wins over limits on TTFT and on TBT"),
    "simulate": ("Simulate it", "Queues over time, and the distribution of every latency"),
    "cost": ("Own or rent?", "The plan owned, reserved and rented over three years, and when owning pays"),
}
_FIXED = {
    "frontier": ("--x", "power"), "sensitivity": ("--draws", "20"),
    "map regime": ("--x", "ttft=200ms..5s:6", "--y", "tbt=50ms..500ms:5"),
}  # fmt: skip
# Studies of the machines of the plan itself, and what else they are asked with.
_OF_PLAN: dict[str, dict[str, Any]] = {"simulate": {}, "cost": {"horizon": "3 years"}}


def _studies(command: str) -> dict[str, tuple[str, str]]:
    """What may be asked about a plan: all of it if a form of the command asked for it, else what its machines do."""
    return {name: about for name, about in STUDIES.items() if command or name in _OF_PLAN}


def plan_router(desk: Desk) -> APIRouter:
    """Routes of the page Plan."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def plan(request: Request) -> Response:
        error = None
        try:
            values = fields_of(desk.form("optimize"), request.query_params.multi_items())
        except PlannerError as refusal:
            values, error = {}, refusal.to_record()
        return draw(request, values, error)

    def draw(
        request: Request, values: Mapping[str, Any], error: Mapping[str, Any] | None, status: int = 200
    ) -> Response:
        groups = groups_of(desk.form("optimize"), values, desk.settings, error)
        return page(request, "plan.html", status, groups=groups, error=error)

    @router.post("/plan")
    async def ask(request: Request) -> Response:
        form = await posted(request, desk.settings)
        fields, key = await with_file(
            desk, form, desk.form("optimize"), file_field="trace", names="workload", also=("then",)
        )
        job = await desk.start(desk.question("optimize"), fields, key)
        if form.get("then") == "what-if":
            return RedirectResponse(f"/what-if/{job.id}", 303)
        return RedirectResponse(link_of(f"/answer/{job.id}", fields), 303)

    @router.get("/answer/{id}")
    async def answer(request: Request, id: str) -> Response:
        try:
            job = desk.jobs.get(id)
        except RequestError as error:
            values = fields_of(desk.form("optimize"), request.query_params.multi_items())
            return draw(request, values, error.to_record() | {"where": None, "value": None}, 404)
        return shown(request, id, job)

    def shown(request: Request, id: str, job: Job) -> Response:
        """How far a question is, or its answer."""
        answer = job.answer
        error = answer.data["error"] if answer is not None and answer.is_error else None
        command = desk.command(job)
        data = None if answer is None or error else answer.data
        title = job.question.title or "Answer"
        status = 200 if answer is None else status_of(answer)
        return page(
            request, "answer.html", 200 if status == 503 else status, job=job, error=error,
            elapsed="" if job.started_s is None else seconds(time.monotonic() - job.started_s),
            body=None if answer is None or error else answer_body(title, data, picture_of(job)),
            studies=_studies(command) if is_plan(data) else {}, targets=TARGETS if is_plan(data) else {}, forms=FORMS,
            again=link_of("/", job.fields) if command else f"/buy?again={id}" if "fleet_text" in job.fields else "/",
            command_line=desk.command_of(command, job.fields) if command else "", is_of_form=bool(command),
            fleet=job.fields.get("fleet_text", ""),
            fleet_command=shlex.join(["planner", "procure", "fleet.yaml", *(f"--catalog={c}" for c in desk.catalogs)]),
            has_file=id in desk.of_file,
            python=python_text(data, desk.catalogs) if is_plan(data) else "",
            groups=groups_of(desk.form("optimize"), job.fields, desk.settings, error) if command else [],
        )  # fmt: skip

    @router.post("/cancel/{id}")
    async def cancel(request: Request, id: str) -> Response:
        await posted(request, desk.settings)
        job = await desk.jobs.cancel(id)
        fields = job.fields if desk.command(job) == "optimize" else {}
        return RedirectResponse(link_of(f"/answer/{job.id}", fields), 303)

    @router.post("/ask/{id}/{study}")
    async def ask_about(request: Request, id: str, study: str) -> Response:
        await posted(request, desk.settings)
        about = desk.jobs.get(id)
        studies = _studies(desk.command(about))
        if study not in studies:
            raise UnknownNameError.of("study", study[:100], list(studies), where="study")
        key = desk.of_file.get(id)
        if study in _OF_PLAN:
            if about.answer is None or not is_plan(about.answer.data):
                raise RequestError("there is no plan to ask about", 409, value=about.state, fix="make one first")
            asked = replace(questions()[study], result=WITH_PICTURE.get(study), title=STUDIES[study][1])
            job = await desk.start(asked, {"plan_result": about.answer.data} | _OF_PLAN[study], key)
        else:
            known = {option.name for option in desk.form(study)}
            # A study decides for itself what it varies; what it has no option for is not asked of it.
            fields = {name: value for name, value in about.fields.items() if name in known}
            if study == "why":
                fields["subject"] = "all"
            asked = desk.question(
                study, fixed=_FIXED.get(study, ()), arguments=("subject",) if study == "why" else (),
                title=STUDIES[study][1], result=WITH_PICTURE.get(study),
            )  # fmt: skip
            job = await desk.start(asked, fields, key)
        return RedirectResponse(f"/answer/{job.id}", 303)

    return router
