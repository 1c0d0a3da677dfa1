"""planner's functions as Excel functions, through xlwings (Windows and macOS, with Excel installed).

Not tested here: xlwings needs Excel. The functions behind it are `planner.sheet`, which is tested.

    pip install xlwings splitwise-planner
    xlwings addin install
    xlwings quickstart planner_functions        # makes planner_functions.xlsm and planner_functions.py

Put this file in the place of planner_functions.py, open the workbook, and press "Import Functions" on the xlwings tab.
Then, in any cell (an empty cell leaves the default):

    =PLANNER_COST_PER_HOUR(B2, B3, B4)          B2: 70   B3: ttft=1s, tbt.p99=200ms   B4: llama-3.1-70b
    =PLANNER_MACHINES_NEEDED(B2, B3, B4)
    =PLANNER_TTFT_P99_S("mixed=dgx-h100:4", B2)
    =PLANNER_PLAN(B2, B3, B4)                   fills a table, one row a pool

On macOS xlwings has no user-defined functions (docs.xlwings.org, "User Defined Functions"): there, `write_plan` below
does the same for a selection, run from "Run main" or a button.
"""

import xlwings as xw

from planner import sheet


@xw.func
def planner_cost_per_hour(rate, slo=None, model=None, workload=None, machines=None):
    """Least cost of a cluster for a load [USD/h]."""
    return sheet.cost_per_hour(rate, slo, model, workload, machines)


@xw.func
def planner_machines_needed(rate, slo=None, model=None, workload=None, machines=None):
    """Machines of the cheapest cluster, spares included."""
    return sheet.machines_needed(rate, slo, model, workload, machines)


@xw.func
def planner_cost_per_million_tokens(rate, slo=None, model=None, workload=None, machines=None):
    """Cost of a million tokens, prompts and answers [USD]."""
    return sheet.cost_per_million_tokens(rate, slo, model, workload, machines)


@xw.func
def planner_ttft_p99_s(pools, rate=None, model=None, workload=None):
    """P99 time to first token of a given cluster [s]."""
    return sheet.ttft_p99_s(pools, rate, model, workload)


@xw.func
@xw.ret(expand="table")
def planner_plan(rate, slo=None, model=None, workload=None, machines=None):
    """The pools of the cheapest cluster as a table with titles."""
    return _table(sheet.plan_records(rate, slo, model, workload, machines))


def write_plan():
    """Write the plan for the load in B2:B4 of the active sheet at D2."""
    page = xw.Book.caller().sheets.active
    rate, slo, model = page["B2:B4"].value
    page["D2"].value = _table(sheet.plan_records(rate, slo, model))


def _table(records):
    titles = list(records[0])
    return [titles] + [[record[title] for title in titles] for record in records]
