"""Which machines can serve a model, as text for a terminal."""

from __future__ import annotations

from functools import partial

from planner.export.tables.text import counted, fitted, labelled, number, percent, stacked, wrapped
from planner.studies.hardware import HardwareFit, MachineFit, describe
from planner.units import format_data, format_money, format_time

WIDTH = 100
_MOST_LAYOUTS = 2


def hardware_table(found: HardwareFit, *, width: int = WIDTH, table_width: int | None = None) -> str:
    """Return the machines that can serve a model with how, and the others with why not.

    Text is wrapped at `width`; a table wider than `table_width` is divided (left out: it is as wide as it is).
    """
    legend = partial(labelled, label_width=10, width=width)
    able = [m for m in found.machines if m.fits]
    unable = [m for m in found.machines if not m.fits]
    lines = wrapped(
        f"{found.model} ({found.precision}, KV cache {found.kv_precision}, {found.runtime}) can be served on "
        f"{len(able)} of {counted(len(found.machines), 'machine')}",
        width,
    )
    if able:
        lines += ["", *_able(able, table_width), ""]
        lines += legend("layouts", "replicas on one machine x their parallel degrees; + those not shown")
        lines += legend("needs, has", "of one replica in its least layout; KV tokens: what is left holds so many")
        lines += legend("prefill", "of 1,024 tokens; a decode step at as many; both alone, in the quickest layout")
    for m in unable:
        lines += ["", *labelled(m.machine, m.reason or "", label_width=16, width=width)]
        if "bytes" not in (m.reason or ""):
            lines += labelled("", _bytes(m), label_width=16, width=width)
        text = "; ".join(describe(i, found.model) for i in m.instead) or "nothing of this family fits in any precision"
        lines += labelled("  instead", text, label_width=16, width=width)
    return "\n".join(lines) + "\n"


def _able(able: list[MachineFit], width: int | None) -> list[str]:
    titles = ["machine", "layouts", "needs", "has", "KV tokens", "prefill", "decode step", "+/-", "USD/h"]
    rows = []
    for m in able:
        shown = ", ".join(m.layouts[:_MOST_LAYOUTS])
        more = len(m.layouts) - _MOST_LAYOUTS
        rows.append(
            [
                m.machine,
                shown + (f" +{more}" if more > 0 else ""),
                format_data(m.needed_bytes),
                format_data(m.available_bytes),
                number(m.kv_tokens),
                "-" if m.prefill_s is None else format_time(m.prefill_s),
                "-" if m.decode_step_s is None else format_time(m.decode_step_s),
                "-" if m.step_time_error is None else percent(m.step_time_error),
                "no price" if m.usd_per_hour is None else format_money(m.usd_per_hour).removeprefix("$"),
            ]
        )
    return stacked(fitted(titles, rows, right=titles[2:], width=width))


def _bytes(m: MachineFit) -> str:
    return (
        f"{m.accelerators_per_replica} x {m.accelerator}: needs {m.needed_bytes:,.0f} bytes before any KV cache "
        f"({format_data(m.weight_bytes)} of them weights), has {m.available_bytes:,.0f}"
    )
