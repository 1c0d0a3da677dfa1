"""How others ask: questions as data, each answered by the command line in a process of its own."""

# Set to `lines`, a command writes its progress to stderr line by line, however quiet it is asked to be.
PROGRESS_VARIABLE = "PLANNER_PROGRESS"
