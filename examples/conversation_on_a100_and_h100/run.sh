# Everything that was asked for stands in scenario.yaml; a flag added here wins over it.
planner optimize "$(dirname "$0")/scenario.yaml" "$@"
