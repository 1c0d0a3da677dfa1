# The main job with nothing but one objective: Llama 3.1 70B, Azure's conversation traffic at 70 requests/s.
planner optimize --slo ttft=1s "$@"
