"""What must be served: request sizes, traces, fitted workloads and objectives.

sizes       RequestSizes: the joint distribution of prompt and output tokens as weighted points
library     sizes_of: a catalog workload as RequestSizes
traces      read_trace: a recorded trace (CSV or JSONL) as a Trace
fitting     fit_workload: a trace as a catalog workload, and its YAML
objectives  parse_objectives: `ttft.p99=1s`, `e2e.p50=2x`, presets
describe    describe: the figures of a trace in one record
"""
