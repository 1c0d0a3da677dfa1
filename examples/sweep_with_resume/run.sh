# Kills a sweep after a second and runs the same command again: it goes on where it was, and prints the table.
folder="$(dirname "$0")"
results="$(mktemp -d)/sweep.jsonl"
timeout --signal=KILL 1 planner sweep "$folder/sweep.yaml" --results "$results" --quiet > /dev/null 2>&1 || true
planner sweep "$folder/sweep.yaml" --results "$results" "$@"
