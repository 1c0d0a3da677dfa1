"""Iteration-level, event-driven simulation of clusters: what the analytic percentiles are held against."""
