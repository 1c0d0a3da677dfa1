"""From forms to questions: one place that the Plan page and what follows from a plan share."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from planner.serve.guard import check_csrf
from planner.serve.jobs import Job, Jobs
from planner.serve.pages.form import Form, command_text, fields_of, pairs_of, question_of
from planner.serve.pages.layout import overlays_of
from planner.serve.pages.uploads import Uploads
from planner.serve.questions import Question
from planner.serve.settings import Settings

_MOST_FIELDS = 500


@dataclass(frozen=True)
class Desk:
    """What all pages ask with.

    Attributes
    ----------
    jobs : Jobs
    settings : Settings
    uploads : Uploads
    of_file : dict
        Job -> the name under which its file is kept.
    """

    jobs: Jobs
    settings: Settings
    uploads: Uploads = field(default_factory=Uploads)
    of_file: dict[str, str] = field(default_factory=dict)

    def form(self, command: str) -> Form:
        """Options of a command."""
        return self.settings.forms[command]

    @property
    def catalogs(self) -> list[str]:
        """Overlay folders that a command or Python must name to ask the same."""
        return [str(path) for path in overlays_of(self.settings)]

    def question(self, command: str, **more: Any) -> Question:
        """The question that a command answers from its form."""
        return question_of(self.form(command), command.replace(" ", "_"), command, **more)

    async def start(self, question: Question, fields: Mapping[str, Any], key: str | None = None) -> Job:
        """Begin to answer a question, about the file kept under a key if there is one.

        Raises
        ------
        RequestError
            Too many questions wait.
        """
        job = await self.jobs.start(question, fields, self.uploads.putting(key))
        if key is not None:
            self.of_file[job.id] = key
            for old in list(self.of_file)[:-400]:
                del self.of_file[old]
        return job

    def command(self, job: Job) -> str:
        """The command whose form asked a question; empty if it was asked in another way."""
        name = job.question.name.replace("_", " ")
        own = self.settings.forms.get(name, ())
        fields = set(job.question.schema["properties"])
        return name if own and {field.name for field in own} <= fields and job.question.scenario is None else ""

    def command_of(self, command: str, fields: Mapping[str, Any]) -> str:
        """The command that asks the same, to be copied."""
        return command_text(command, self.form(command), fields, self.catalogs)


async def posted(request: Request, settings: Settings) -> FormData:
    """The form that a page of this server sent.

    Raises
    ------
    RequestError
        Sent by another page (403).
    """
    form = await request.form(max_files=2, max_fields=_MOST_FIELDS, max_part_size=settings.json_bytes)
    check_csrf(request, form.get("csrf"))
    return form


async def with_file(
    desk: Desk, form: FormData, options: Form, *, file_field: str, names: str, also: Sequence[str] = ()
) -> tuple[dict[str, Any], str | None]:
    """Fields that were written into a form, and the key of the file that was dropped on it.

    Parameters
    ----------
    desk : Desk
    form : FormData
    options : tuple of OptionField
    file_field : str
        Of the file in the form.
    names : str
        Field that is to name it.
    also : sequence of str
        Other fields of the form.
    """
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    fields = fields_of(options, pairs, ("csrf", file_field, *also))
    file = form.get(file_field)
    if isinstance(file, UploadFile) and file.filename:
        key = secrets.token_urlsafe(12)
        fields[names] = await desk.uploads.keep(key, file)
        return fields, key
    return fields, None


def link_of(path: str, fields: Mapping[str, Any]) -> str:
    """A link that fills a form in again."""
    pairs = pairs_of(fields)
    return f"{path}?{urlencode(pairs)}" if pairs else path
