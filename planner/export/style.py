"""How exported pages look: on a screen, dark or light, and printed."""

from __future__ import annotations

# Blue and vermilion of Okabe and Ito, told apart in every colour vision.
STYLE = """
:root { --ink: #1a1a1a; --pale: #5b6570; --rule: #cfd6dd; --head: #e3ecf5; --blue: #0072b2; --orange: #d55e00 }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); margin: 0 auto;
  padding: 1.5rem; max-width: 62rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin: 1.8rem 0 .5rem; color: var(--blue) }
p { margin: .3rem 0 } .pale { color: var(--pale) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: .6rem; margin: 1rem 0 }
.figure { border: 1px solid var(--rule); border-radius: .4rem; padding: .5rem .7rem }
.figure b { display: block; font-size: 1.2rem } .figure span { color: var(--pale); font-size: .85rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th { text-align: left; background: var(--head) } th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule);
  vertical-align: top } td:first-child, .number { white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.met { color: #00703c; font-weight: 600 } .missed { color: #b00020; font-weight: 600 }
.bar { display: block; width: 100%; height: .9rem; fill: var(--blue) } .own .bar { fill: var(--orange) }
td.track { width: 38% } dl { display: grid; grid-template-columns: 7.5rem 1fr; gap: .25rem .8rem; margin: 0 }
dt { color: var(--pale) } dd { margin: 0; overflow-wrap: anywhere } details { margin-top: 1.2rem }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: .85rem }
@media print { body { padding: 0; font-size: 11px } h2 { break-after: avoid } tr { break-inside: avoid } }
"""
