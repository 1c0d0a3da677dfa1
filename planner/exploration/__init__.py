"""Many problems at once: sweeps, frontiers, maps, comparisons and sensitivities."""
