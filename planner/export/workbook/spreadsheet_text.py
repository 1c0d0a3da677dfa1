"""Text that a spreadsheet would run as a formula, and how it is kept text.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a line end may be run as a formula when a CSV is opened
(CWE-1236, "CSV injection"). Such text comes from outside: names of files, sources of prices, notes of a quote.
"""

from __future__ import annotations

import re

_STARTERS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width forms
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def may_run(text: str) -> bool:
    """Whether a spreadsheet may take a text for a formula; a plain number is none."""
    return text.lstrip(" ").startswith(_STARTERS) and _NUMBER.fullmatch(text.strip(" ")) is None


def csv_cell(value: object) -> object:
    """Return what is written for a value in a CSV: text that may run gets an apostrophe before it, numbers nothing.

    Carriage returns become line feeds: the csv module does not quote them, and a reader would begin a new row there.
    """
    if not isinstance(value, str):
        return value
    text = f"'{value}" if may_run(value) else value
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
