"""Every error `planner` raises on purpose, and the exit code the command line gives it.

    PlannerError                      1   base; never raised itself
    |-- InputError                    2   something the caller wrote is wrong
    |   |-- UnitError                     a quantity that cannot be read ("40 GB" for a bandwidth)
    |   |-- UnknownNameError              a name that is not in the catalog, with near misses
    |   |-- CatalogError                  a catalog file that breaks its schema (file:line)
    |   |-- TraceError                    a trace file that cannot be used (file:line)
    |   |-- ScenarioError                 a scenario or option that makes no sense
    |   `-- OutputError                   a result that could not be written; nothing was written
    |-- InfeasibleError               3   the input is sound, but no plan can satisfy it
    |   |-- DoesNotFitError               the model does not fit the memory, with both byte counts
    |   `-- ObjectiveUnreachableError     an objective below the unloaded latency
    |-- NoPlanFoundError              5   the solver stopped before it found any plan
    `-- SolverError                   1   a solver's answer breaks the model it was given; never believed

Exit code 0 is success and 4 is a plan that is valid but not proven optimal because a limit was hit; neither
is an exception. 1 is a fault of planner or of a solver, or a reader of stdout that has gone (a broken pipe), and 130 an
interruption by Ctrl-C. Each error says *what* is wrong, *where* (file:line or option), the *value*, the *rule* it
breaks and the *fix*, and near-miss names where a name was mistyped.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_BAD_INPUT = 2
EXIT_INFEASIBLE = 3
EXIT_LIMIT_WITH_PLAN = 4
EXIT_NO_PLAN = 5
EXIT_INTERRUPTED = 130


class PlannerError(Exception):
    """Base of every error raised on purpose.

    Parameters
    ----------
    what : str
        What is wrong, as a sentence without a full stop.
    where : str, optional
        `file:line`, or the option or field it came from.
    value : object, optional
        The offending value, shown as given.
    rule : str, optional
        The rule that was broken.
    fix : str, optional
        What to do about it.
    suggestions : iterable of str, optional
        Near-miss names.
    also : iterable of str, optional
        Further errors found in the same place, one line each.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        value: object = None,
        rule: str | None = None,
        fix: str | None = None,
        suggestions: Iterable[str] = (),
        also: Iterable[str] = (),
    ) -> None:
        self.what = what
        self.where = where
        self.value = value
        self.rule = rule
        self.fix = fix
        self.suggestions = list(suggestions)
        self.also = list(also)
        super().__init__(what)

    def at(self, where: str) -> PlannerError:
        """Return self with `where` filled in, unless it already says where."""
        if self.where is None:
            self.where = where
        return self

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        lines = [head]
        if self.value is not None:
            lines.append(f"  value: {self.value}")
        if self.rule:
            lines.append(f"  rule:  {self.rule}")
        if self.suggestions:
            lines.append(f"  did you mean: {', '.join(self.suggestions)}?")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        lines += [f"  also:  {line}" for line in self.also]
        return "\n".join(lines)

    def to_record(self) -> dict[str, object]:
        """Return the error as one flat JSON-ready envelope."""
        return {
            "error": type(self).__name__,
            "exit_code": self.exit_code,
            "what": self.what,
            "where": self.where,
            "value": None if self.value is None else str(self.value),
            "rule": self.rule,
            "fix": self.fix,
            "suggestions": self.suggestions,
            "also": self.also,
        }


class InputError(PlannerError):
    """Something the caller wrote is wrong."""

    exit_code = EXIT_BAD_INPUT


class UnitError(InputError):
    """A quantity that cannot be read in the dimension asked for."""


class UnknownNameError(InputError):
    """A name that does not exist, with the near misses that do."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> UnknownNameError:
        """Build the error for `name`, offering near misses out of `known`."""
        names = sorted(known)
        near = near_misses(name, names)
        fix = None if near else f"known: {', '.join(names) if len(names) <= 12 else ', '.join(names[:12]) + ', ...'}"
        return cls(f"unknown {kind} {name!r}", where=where, suggestions=near, fix=fix)


class CatalogError(InputError):
    """A catalog file that breaks its schema."""


class TraceError(InputError):
    """A trace file that cannot be used."""


class ScenarioError(InputError):
    """A scenario or an option that makes no sense."""


class OutputError(InputError):
    """A result that could not be written. Nothing was written."""


class InfeasibleError(PlannerError):
    """The input is sound, but no plan can satisfy it."""

    exit_code = EXIT_INFEASIBLE


class DoesNotFitError(InfeasibleError):
    """The model does not fit the memory it is given."""


class ObjectiveUnreachableError(InfeasibleError):
    """An objective lies below the latency of an unloaded machine."""


class NoPlanFoundError(PlannerError):
    """The solver stopped before it found any plan."""

    exit_code = EXIT_NO_PLAN


class SolverError(PlannerError):
    """A solver's answer breaks the model it was given, however often it was asked."""


def near_misses(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return at most `n` of `known` that look like `name`, best first; case is ignored."""
    by_folded = {k.casefold(): k for k in known}
    folded = name.casefold()
    hits = difflib.get_close_matches(folded, by_folded, n=n, cutoff=0.5)
    hits += [k for k in by_folded if folded and folded in k and k not in hits][: n - len(hits)]
    return [by_folded[h] for h in hits]
