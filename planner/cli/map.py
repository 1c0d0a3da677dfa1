"""`planner map`: pictures of many plans at once."""

from __future__ import annotations

import typer

from planner.cli import map_network, map_provisioning, map_regime

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Map costs and designs over what is unsure.")
app.command("provisioning", short_help="Cost over prefill x decode machines, with where each objective holds.")(
    map_provisioning.provisioning
)
app.command("regime", short_help="Which design wins over two of price, mix, load, limits and network.")(
    map_regime.regime
)
app.command("network", short_help="The bandwidth below which splitting stops paying.")(map_network.network)
