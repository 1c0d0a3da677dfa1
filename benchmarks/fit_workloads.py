"""Write the built-in workloads anew, byte for byte, and print how well the fits match their traces.

    python benchmarks/fit_workloads.py [--data FOLDER] [--output FOLDER] [--check]

`--data` holds the traces (default: ../shared/data beside the repository); without it only the estimated workloads
are written. `--check` writes nothing and exits with 1 if a file differs.

The Azure traces are those of the Azure Public Dataset, 2023, under CC-BY 4.0; the long-context trace is Mooncake's,
under Apache-2.0. The traces are not part of this repository; the fitted tables are.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np

from planner.catalog.schema import Provenance, TokenDistribution, Workload
from planner.export.files import write_whole
from planner.workload.describe import WorkloadSummary, describe
from planner.workload.fitting import fit_workload, workload_to_yaml
from planner.workload.library import sizes_of
from planner.workload.traces import Trace, read_trace

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY.parent / "shared" / "data"
BUILTIN = REPOSITORY / "planner" / "catalog" / "builtin" / "workloads"

TRACES = {
    "azure-code-2023": "azure_2023_code.csv",
    "azure-conv-2023": "azure_2023_conv.csv",
    "long-context-chat": "mooncake_conversation.jsonl",
}
AZURE = (
    "Azure Public Dataset, AzureLLMInferenceTrace_{part} 2023 (github.com/Azure/AzurePublicDataset, CC-BY 4.0): "
    "quantiles of its {n:,} requests, correlation fitted to the mean product of prompt and output"
)
MOONCAKE = (
    "Mooncake conversation trace (github.com/kvcache-ai/Mooncake, Apache-2.0): quantiles of its {n:,} requests, "
    "correlation fitted to the mean product of prompt and output"
)
POISSON = (
    "Splitwise (arXiv 2311.18677v2) sizes its clusters with Poisson arrivals, and so does this workload; "
    "the squared coefficient of variation of the gaps in the trace itself is {cv2:.3g}{why}"
)


def azure(trace: Trace, *, name: str, part: str, title: str) -> Workload:
    """Fit one of the Azure traces, with Poisson arrivals."""
    if trace.arrival_s is None or trace.arrival_cv2 is None:
        raise SystemExit(f"{trace.path} has no timestamps")
    gaps = np.sort(np.diff(trace.arrival_s))
    why = ""
    if trace.arrival_cv2 > 10:
        rest = gaps[:-5]
        why = (
            f", because traffic stops and starts: its five longest silences are {gaps[-5]:.0f} to {gaps[-1]:.0f} s, "
            f"and without them it is still {rest.var() / rest.mean() ** 2:.3g}"
        )
    return fit_workload(
        trace,
        name=name,
        title=title,
        source=AZURE.format(part=part, n=trace.n_requests),
        kind="derived",
        arrival_cv2=1.0,
        provenance={"arrival_cv2": Provenance(kind="estimate", source=POISSON.format(cv2=trace.arrival_cv2, why=why))},
    )


def long_context_chat(trace: Trace) -> Workload:
    """Fit the Mooncake trace, whose arrivals are recorded in batches of 3 s."""
    if trace.arrival_s is None:
        raise SystemExit(f"{trace.path} has no timestamps")
    counts = np.bincount(np.rint(trace.arrival_s / 3.0).astype(int))
    dispersion = float(counts.var() / counts.mean())
    return fit_workload(
        trace,
        name="long-context-chat",
        title="Chat over long contexts (Mooncake, conversation)",
        source=MOONCAKE.format(n=trace.n_requests),
        kind="derived",
        arrival_cv2=round(dispersion, 2),
        provenance={
            "arrival_cv2": Provenance(
                kind="derived",
                source="variance over mean of the requests in each 3 s of the trace: it records arrivals in batches of "
                f"3 s, so that its gaps (squared coefficient of variation {trace.arrival_cv2:.3g}) say nothing",
            )
        },
        notes="Prompts count whole. The requests of the trace share prefixes: an ideal prefix cache would save 36.6 % "
        "of the prompt tokens (derived from its 512-token block hashes), which this workload does not assume.",
    )


def log_normal(p10: float, p90: float, smallest: float, largest: float) -> TokenDistribution:
    """Quantiles of the log-normal distribution with these percentiles, cut at both ends."""
    z = NormalDist().inv_cdf
    sigma = math.log(p90 / p10) / (2 * z(0.9))
    inner = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
    tokens = [round(math.sqrt(p10 * p90) * math.exp(sigma * z(p))) for p in inner]
    return TokenDistribution(probabilities=[0.0, *inner, 1.0], tokens=[smallest, *tokens, largest])


def summarisation() -> Workload:
    """Documents in, short summaries out: assumed, not measured."""
    return Workload(
        name="summarisation",
        title="Summaries of documents",
        source="Not measured. Assumed: four documents in five have 2,000 to 8,000 tokens (about 3 to 12 pages at 650 "
        "tokens a page, instructions included) and their summaries 150 to 300 tokens (one or two paragraphs); both "
        "log-normal, with these as P10 and P90, cut at 500 to 32,000 and 50 to 800 tokens",
        kind="estimate",
        prompt_tokens=log_normal(2000, 8000, 500, 32000),
        output_tokens=log_normal(150, 300, 50, 800),
        correlation=0.3,
        arrival_cv2=1.0,
        provenance={
            "correlation": Provenance(
                kind="estimate", source="assumed: longer documents get somewhat longer summaries, as the length asked "
                "for is mostly fixed by the instruction",
            ),
            "arrival_cv2": Provenance(kind="estimate", source="assumed: independent users, so Poisson arrivals"),
        },
    )  # fmt: skip


def batch_documents() -> Workload:
    """Batch document processing: assumed, not measured."""
    return Workload(
        name="batch-documents",
        title="Batch processing of documents",
        source="Not measured. Assumed: extraction or classification of documents cut into chunks, medians of 3,000 "
        "tokens in (a chunk of about 2,500 and 500 of instructions) and 300 out (one record of fields); log-normal, "
        "four in five within a factor of 1.5 (prompt) and 2 (output) of the median, cut at 800 to 12,000 and 20 to "
        "2,000 tokens",
        kind="estimate",
        prompt_tokens=log_normal(2000, 4500, 800, 12000),
        output_tokens=log_normal(150, 600, 20, 2000),
        correlation=0.2,
        arrival_cv2=1.0,
        provenance={
            "correlation": Provenance(kind="estimate", source="assumed: fuller chunks give slightly fuller records"),
            "arrival_cv2": Provenance(
                kind="estimate", source="assumed: Poisson; many jobs feed the cluster at the rate it is planned for"
            ),
        },
    )


def workloads(data: Path) -> dict[str, tuple[Workload, Trace | None]]:
    """Return every built-in workload that can be made, and the trace it was fitted to."""
    made: dict[str, tuple[Workload, Trace | None]] = {w.name: (w, None) for w in (summarisation(), batch_documents())}
    traces = {name: read_trace(data / file) for name, file in TRACES.items() if (data / file).exists()}
    for name, trace in traces.items():
        if name == "azure-code-2023":
            workload = azure(trace, name=name, part="code", title="Code completion (Azure, November 2023)")
        elif name == "azure-conv-2023":
            workload = azure(trace, name=name, part="conv", title="Conversation (Azure, November 2023)")
        else:
            workload = long_context_chat(trace)
        made[name] = (workload, trace)
    return made


def print_accuracy(workload: Workload, trace: Trace) -> None:
    """Print the trace beside the fit."""
    fitted, measured = describe(sizes_of(workload)), describe(trace)
    print(f"\n{workload.name}: {trace.n_requests:,} requests, copula correlation {workload.correlation:+.4f}")
    print(f"  {'':24}{'trace':>14}{'fit':>14}{'error':>9}")
    for label, number, other in _figures(measured, fitted):
        print(f"  {label:24}{number:14,.1f}{other:14,.1f}{other / number - 1:9.1%}")


def _figures(measured: WorkloadSummary, fitted: WorkloadSummary) -> list[tuple[str, float, float]]:
    rows = []
    for side in ("prompt", "output"):
        one, two = getattr(measured, f"{side}_tokens"), getattr(fitted, f"{side}_tokens")
        rows += [(f"{side} {f}", getattr(one, f), getattr(two, f)) for f in ("mean", "p50", "p90", "p99")]
    rows.append(("decode context", measured.decode_context_tokens, fitted.decode_context_tokens))
    rows.append(("E[o (s + o/2)]", measured.mean_kv_token_steps, fitted.mean_kv_token_steps))
    return rows


def main() -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the traces")
    parser.add_argument("--output", type=Path, default=BUILTIN, help="folder to write to")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    arguments = parser.parse_args()
    n_differing = 0
    for name, (workload, trace) in workloads(arguments.data).items():
        path = arguments.output / f"{name}.yaml"
        text = workload_to_yaml(workload)
        if arguments.check:
            same = path.exists() and path.read_bytes() == text.encode()
            n_differing += not same
            print(f"{'same' if same else 'DIFFERS'}  {path}")
        else:
            write_whole(path, text)
        if trace is not None:
            print_accuracy(workload, trace)
    missing = [name for name, file in TRACES.items() if not (arguments.data / file).exists()]
    if missing:
        print(f"left alone, no trace in {arguments.data}: {', '.join(missing)}", file=sys.stderr)
    return 1 if n_differing else 0


if __name__ == "__main__":
    sys.exit(main())
