"""Which rows of a trace are of requests that failed, by what their error or state says."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from planner.workload.trace_cells import MISSING, TextCells

_STATES = re.compile(
    r"fail|error|cancel|timeout|timed.?out|abort|reject|incomplete|refused|dropped|exception", re.IGNORECASE
)
_FALSE = ("", "false", "no", "0", "none", "null", "nan", "{}", "[]", "ok")
_ERROR_STATUS = 400.0  # of HTTP, from here on


def failed_rows(name: str, cells: TextCells) -> NDArray[np.bool_]:
    """Rows that a column says have failed.

    Parameters
    ----------
    name : str
        Of the column: `error` and the like hold what went wrong, `success` whether nothing did, `status` a word or a
        status of HTTP.
    cells : Cells

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    kind = re.sub(r"[^a-z]", "", name.rpartition(".")[2].casefold())
    numbers = np.nan_to_num(cells.numbers, nan=0.0)
    if kind in ("success", "succeeded"):
        failed = cells.numbers == 0
        for row, text in _others(cells):
            failed[row] = text in _FALSE and text not in ("", "none", "null")
    elif kind in ("status", "state", "statuscode", "httpstatus", "plannerstate"):
        failed = numbers >= _ERROR_STATUS
        for row, text in _others(cells):
            failed[row] = bool(_STATES.search(text))
    else:
        failed = numbers != 0
        for row, text in _others(cells):
            failed[row] = text not in _FALSE
    return np.asarray(failed)


def _others(cells: TextCells) -> list[tuple[int, str]]:
    found = []
    for row, value in zip(cells.other_rows.tolist(), cells.others.tolist(), strict=True):
        if value is MISSING or value is None:
            found.append((row, ""))
        else:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            found.append((row, text.strip().casefold()))
    return found
