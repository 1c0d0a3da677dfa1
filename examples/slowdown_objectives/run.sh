# The setting of Splitwise (arXiv 2311.18677): nine objectives, each a slowdown against the same request alone on a
# DGX A100. The runtime is that of 2023, as measured by the authors.
planner optimize "$(dirname "$0")/scenario.yaml" "$@"
