"""From a problem to a plan: search, certify, record; and the same figures for a cluster that is given."""
