"""Several workloads in one plan: which share machines, what is bought once, and what each period uses."""
