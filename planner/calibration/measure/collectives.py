"""Timing all-reduces: one process for each GPU, all of one host."""

from __future__ import annotations

import os
import queue
import socket
import statistics
import time
from collections.abc import Sequence
from typing import Any

from planner.calibration.measure.plan import Kernel

WARM_UP_CALLS = 5
N_CALLS = 30
Found = tuple[Kernel, float, float, int]


def measure_all_reduces(kernels: Sequence[Kernel], backend: str, budget_s: float) -> tuple[list[Found], list[str]]:
    """Time all-reduces over as many ranks as each kernel says.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of the kind all-reduce.
    backend : str
        `nccl` on GPUs, `gloo` on processors.
    budget_s : float
        When it is spent, the processes are ended and the rest is left out [s].

    Returns
    -------
    list of (Kernel, median [s], interquartile range [s], calls), list of str
        And what could not be timed.
    """
    import torch.multiprocessing as processes

    found: list[Found] = []
    notes: list[str] = []
    deadline = time.monotonic() + budget_s
    context = processes.get_context("spawn")
    for ranks in sorted({kernel.size("ranks") for kernel in kernels}):
        mine = [kernel for kernel in kernels if kernel.size("ranks") == ranks]
        results: Any = context.Queue()
        port = _free_port()
        workers = [
            context.Process(target=_rank, args=(rank, ranks, port, backend, [k.size("bytes") for k in mine], results))
            for rank in range(ranks)
        ]
        for worker in workers:
            worker.start()
        try:
            times = results.get(timeout=max(deadline - time.monotonic(), 1.0))
        except queue.Empty:
            times = "no answer within the budget"
        for worker in workers:
            worker.join(timeout=10.0)
            if worker.is_alive():
                worker.terminate()
                worker.join()
        if isinstance(times, str):
            notes.append(f"all-reduce over {ranks} ranks left out: {times}")
            continue
        for kernel, calls in zip(mine, times, strict=True):
            quartiles = statistics.quantiles(calls, n=4)
            found.append((kernel, statistics.median(calls), quartiles[2] - quartiles[0], len(calls)))
    return found, notes


def _rank(rank: int, ranks: int, port: int, backend: str, sizes: Sequence[int], results: Any) -> None:
    """One rank; the first one reports the times of its calls, or what went wrong."""
    import torch
    import torch.distributed as distributed

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        if backend == "nccl":
            torch.cuda.set_device(rank)
        distributed.init_process_group(backend, rank=rank, world_size=ranks)
        device = f"cuda:{rank}" if backend == "nccl" else "cpu"
        times = [_times_s(torch, distributed, size, device) for size in sizes]
        if rank == 0:
            results.put(times)
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as error:  # reported to the parent, which goes on without
        if rank == 0:
            results.put(str(error).splitlines()[0][:120] if str(error) else type(error).__name__)


def _times_s(torch: Any, distributed: Any, size_bytes: int, device: str) -> list[float]:
    tensor = torch.ones(max(size_bytes // 2, 1), dtype=torch.bfloat16, device=device)
    for _ in range(WARM_UP_CALLS):
        distributed.all_reduce(tensor)
    times = []
    for _ in range(N_CALLS):
        distributed.barrier()
        if device == "cpu":
            started = time.perf_counter()
            distributed.all_reduce(tensor)
            times.append(time.perf_counter() - started)
            continue
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        distributed.all_reduce(tensor)
        end.record()
        end.synchronize()
        times.append(float(begin.elapsed_time(end)) * 1e-3)
        tensor.fill_(1.0)  # sums of sums would overflow
    return times


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
