"""Options of commands for the forms of `planner serve`: one place says their names, units, defaults and help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer

from planner.serve.pages.form import Form, OptionField

# What the server itself decides.
_ITS_OWN = ("catalog", "format", "output", "quiet", "plot", "workers", "requests_file", "rows", "scenario", "profile")


def forms() -> dict[str, Form]:
    """Options of the commands that pages ask, by command."""
    from planner.cli import frontier, map_regime, optimize, procure, sensitivity, simulate, why
    from planner.cli.import_prices import import_prices
    from planner.cli.import_quotes import import_quotes

    commands: Mapping[str, Callable[..., Any]] = {
        "optimize": optimize.optimize, "why": why.why, "sensitivity": sensitivity.sensitivity,
        "frontier": frontier.frontier, "map regime": map_regime.regime, "simulate": simulate.simulate,
        "procure": procure.procure, "catalog import-quotes": import_quotes, "catalog import-prices": import_prices,
    }  # fmt: skip
    return {name: tuple(_fields(command)) for name, command in commands.items()}


def _fields(command: Callable[..., Any]) -> Iterator[OptionField]:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    for parameter in typer.main.get_command(app).params:
        options = [option for option in parameter.opts if option.startswith("--")]
        if not options or parameter.name is None or parameter.name in _ITS_OWN:
            continue
        opposites = list(parameter.secondary_opts)
        yield OptionField(
            name=parameter.name,
            option=options[0],
            opposite=opposites[0] if opposites else None,
            metavar=str(parameter.metavar or ""),
            help=str(getattr(parameter, "help", None) or ""),
            is_flag=bool(getattr(parameter, "is_flag", False)),
            is_repeatable=bool(getattr(parameter, "multiple", False)),
        )
