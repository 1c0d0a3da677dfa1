"""Plans as workbooks whose money and power are live formulas."""
