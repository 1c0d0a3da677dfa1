# "Per dollar" lists the designs. What stands above is the cheapest fleet for 70 requests/s.
planner procure "$(dirname "$0")/fleet.yaml" "$@"
