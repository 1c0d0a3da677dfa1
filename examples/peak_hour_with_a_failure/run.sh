# A cluster of our own through a quiet time, a peak and an evening, five minutes each; in the peak a prefill machine is
# down for half a minute. Exit code 3: the failure is felt, and the objectives are missed.
planner simulate "$(dirname "$0")/cluster.yaml" --rates 20/s,60/s,40/s --period 5min --fail prefill:0@400s-430s \
    --slo ttft=1s --slo tbt=100ms --seeds 1 "$@" || test $? = 3
