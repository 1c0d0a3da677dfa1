# %% [markdown]
# # From a load to an offer, and back
# Cells begin at `# %%`: run them in VS Code, Spyder or Jupyter (jupytext), or the whole file with `python`.

# %%
import tempfile
from pathlib import Path

from planner import sheet

LOAD = {"rate": "70/s", "slo": "ttft=1s, tbt.p99=200ms", "model": "llama-3.1-70b", "workload": "azure-conv-2023"}

# %% What does it cost, and how many machines is that?
print(f"{sheet.cost_per_hour(**LOAD):,.2f} USD/h, {sheet.cost_per_million_tokens(**LOAD):.3f} USD a million tokens")
print(f"{sheet.machines_needed(**LOAD)} machines, {sheet.power_kw(**LOAD):.1f} kW rated")

# %% Which pools? Rows for a sheet, or for pandas.DataFrame(rows)
rows = sheet.plan_records(**LOAD)
for row in rows:
    print(row["role"], row["machine"], row["count"], f"{row['cost_usd_per_hour']:,.2f} USD/h")

# %% What does growth ask for?
for rate in (35, 70, 140, 280):
    asked = LOAD | {"rate": rate}
    machines, cost = sheet.machines_needed(**asked), sheet.cost_per_hour(**asked)
    print(f"{rate:>4} requests/s: {machines:>3} machines, {cost:>8,.2f} USD/h")

# %% An offer came in: a price book in an overlay, as `planner catalog import-quotes` writes it
overlay = Path(tempfile.mkdtemp())
(overlay / "prices").mkdir()
(overlay / "prices" / "offer.yaml").write_text(
    "source: offer 4711 (made up for this example)\nkind: quote\nprovider: acme\ndate: 2026-11-20\n"
    "on_demand: {dgx-h100: 31.50 USD/h}\n"
)
offered = LOAD | {"catalog": str(overlay), "prices": "offer"}
print(
    f"{sheet.price_per_hour('dgx-h100'):.2f} -> {sheet.price_per_hour('dgx-h100', 'offer', catalog=str(overlay)):.2f}"
)
print(f"{sheet.cost_per_hour(**LOAD):,.2f} -> {sheet.cost_per_hour(**offered):,.2f} USD/h")

# %% And the cluster that we have: how fast is it, and how much could it take?
pools = "prefill=dgx-h100:4, decode=dgx-a100:5"
print(f"TTFT p99 {1e3 * sheet.ttft_p99_s(pools, '50/s'):.0f} ms, TBT p99 {1e3 * sheet.tbt_p99_s(pools, '50/s'):.1f} ms")
print(f"up to {sheet.largest_rate_per_s(pools, LOAD['slo']):.1f} requests/s")

# %% What is wrong comes back as text, for a cell to show
print(sheet.cost_per_hour(machines="dgx-h10"))
