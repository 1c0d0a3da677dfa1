"""Pools that may be bought: configurations of a model on a machine, their capacity, designs, networks and limits."""
