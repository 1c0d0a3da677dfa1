"""How others ask: questions as data, each answered by the command line in a process of its own."""

# Set, a program asks: progress goes to stderr line by line, however quiet, and errors to stdout as JSON.
PROGRAM_VARIABLE = "PLANNER_PROGRAM"
