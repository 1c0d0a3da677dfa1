"""Queues: step times become percentiles of TTFT, TBT and E2E of a pool, and capacity curves."""
