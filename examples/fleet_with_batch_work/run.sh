# Everything that was asked for stands in fleet.yaml. docs/portfolio.md explains its fields.
planner procure "$(dirname "$0")/fleet.yaml" "$@"
