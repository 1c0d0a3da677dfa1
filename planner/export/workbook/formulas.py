"""Spreadsheet formulas that carry their value: what a cell shows before anybody recalculates.

A formula is built from cells with the operators of Python; its text and its value come from the same expression, so
the value kept in the file cannot drift from the formula beside it. None is a missing value: `#N/A` in a sheet, and in
everything that is computed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Value = float | str | bool | None
_COMPARE, _JOIN, _ADD, _MULTIPLY, _ATOM = range(5)


@dataclass(frozen=True)
class Formula:
    """The text of a formula, without `=`, and its value.

    `Formula("B2", 3.0) * 2` has the text `B2*2` and the value 6.0.
    """

    text: str
    value: Value
    binds: int = _ATOM

    def __add__(self, other: Operand) -> Formula:
        return _binary(self, "+", other, _ADD, lambda a, b: a + b)

    def __sub__(self, other: Operand) -> Formula:
        return _binary(self, "-", other, _ADD, lambda a, b: a - b)

    def __rsub__(self, other: Operand) -> Formula:
        return _binary(other, "-", self, _ADD, lambda a, b: a - b)

    def __mul__(self, other: Operand) -> Formula:
        return _binary(self, "*", other, _MULTIPLY, lambda a, b: a * b)

    def __rmul__(self, other: Operand) -> Formula:
        return _binary(other, "*", self, _MULTIPLY, lambda a, b: a * b)

    def __truediv__(self, other: Operand) -> Formula:
        return _binary(self, "/", other, _MULTIPLY, lambda a, b: a / b if b else None)

    def __rtruediv__(self, other: Operand) -> Formula:
        return _binary(other, "/", self, _MULTIPLY, lambda a, b: a / b if b else None)

    def equals(self, other: Operand) -> Formula:
        """Whether both are equal."""
        return _binary(self, "=", other, _COMPARE, lambda a, b: a == b)

    def above(self, other: Operand) -> Formula:
        """Whether this is the greater one."""
        return _binary(self, ">", other, _COMPARE, lambda a, b: a > b)


Operand = Formula | float | str


@dataclass(frozen=True)
class Range:
    """Neighbouring cells: their address and their values."""

    text: str
    values: tuple[Value, ...]


def operand(thing: Operand) -> Formula:
    """Return a number or a text as a formula of that constant."""
    if isinstance(thing, Formula):
        return thing
    if isinstance(thing, str):
        return Formula('"' + thing.replace('"', '""') + '"', thing)
    return Formula(f"{thing:.15g}", float(thing))


def _binary(
    left: Operand, sign: str, right: Operand, binds: int, compute: Callable[[float, float], float | None]
) -> Formula:
    a, b = operand(left), operand(right)
    # a-(b+c) and a/(b*c) need their parentheses, a+b+c does not.
    first = f"({a.text})" if a.binds < binds else a.text
    tight = sign in "-/"
    second = f"({b.text})" if b.binds < binds or (tight and b.binds == binds) else b.text
    return Formula(f"{first}{sign}{second}", _computed(compute, (a.value, b.value)), binds)


def _computed(compute: Callable[..., float | None], values: Sequence[Value]) -> Value:
    if any(value is None for value in values):
        return None
    try:
        return compute(*values)
    except TypeError:  # arithmetic on text: #VALUE! in a sheet
        return None


def function(name: str, compute: Callable[..., float | None], *arguments: Operand) -> Formula:
    """Return a call of a function of the sheet, `compute` being the same in Python.

    Parameters
    ----------
    name : str
        As the sheet calls it.
    compute : callable
        Gets the values of the arguments.
    *arguments : Formula, float or str
    """
    found = [operand(argument) for argument in arguments]
    text = f"{name}({','.join(f.text for f in found)})"
    return Formula(text, _computed(compute, [f.value for f in found]))


def total(cells: Range) -> Formula:
    """Return SUM of a range, left to right as a sheet adds."""
    values = [value for value in cells.values if not isinstance(value, str)]
    missing = any(value is None for value in values)
    return Formula(f"SUM({cells.text})", None if missing else float(sum(v for v in values if v is not None)))


def sum_of_products(a: Range, b: Range) -> Formula:
    """Return SUMPRODUCT of two ranges of one length."""
    pairs = list(zip(a.values, b.values, strict=True))
    missing = any(x is None or y is None for x, y in pairs)
    value = None if missing else float(sum(float(x) * float(y) for x, y in pairs if x is not None and y is not None))
    return Formula(f"SUMPRODUCT({a.text},{b.text})", value)


def sum_where(criterion_cells: Range, criterion: str, cells: Range) -> Formula:
    """Return SUMIF: the sum of `cells` where the cell beside it equals `criterion`."""
    picked = [v for c, v in zip(criterion_cells.values, cells.values, strict=True) if c == criterion]
    missing = any(value is None for value in picked)
    text = f"SUMIF({criterion_cells.text},{operand(criterion).text},{cells.text})"
    return Formula(text, None if missing else float(sum(float(v) for v in picked if v is not None)))


def choose(condition: Formula, then: Operand, otherwise: Operand) -> Formula:
    """Return IF."""
    yes, no = operand(then), operand(otherwise)
    value = None if condition.value is None else yes.value if condition.value else no.value
    return Formula(f"IF({condition.text},{yes.text},{no.text})", value)


def known(thing: Formula, then: Formula) -> Formula:
    """Return `then` where `thing` is a number, and `#N/A` where its cell is empty."""
    return Formula(f"IF(ISNUMBER({thing.text}),{then.text},NA())", None if thing.value is None else then.value)


def if_number(thing: Formula, then: Formula) -> Formula:
    """Return `then` where `thing` is a number, and an empty text elsewhere."""
    is_number = isinstance(thing.value, int | float)
    return Formula(f'IF(ISNUMBER({thing.text}),{then.text},"")', then.value if is_number else "")


def column_name(column: int) -> str:
    """Return `A` of 0, `AB` of 27."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def address(row: int, column: int) -> str:
    """Return `$B$3` of row 2, column 1, both counted from 0."""
    return f"${column_name(column)}${row + 1}"
