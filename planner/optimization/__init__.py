"""The MILP: which pools, how many machines each. The only room that knows pulp."""
