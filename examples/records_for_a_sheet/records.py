"""One row a pool and a load, as CSV for a spreadsheet: what growth will ask for."""

import csv
import sys

import planner

RATES = ("35/s", "70/s", "140/s")
COLUMNS = ("demand_rate_per_s", "design", "role", "machine", "count", "cost_usd_per_hour", "plan_cost_usd_per_hour")

rows = []
for rate in RATES:
    plan = planner.optimize(slo="ttft=1s", rate=rate, preset="splitwise")
    rows += plan.to_records()

writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
writer.writeheader()
writer.writerows(rows)
