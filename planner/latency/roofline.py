"""The operator roofline: the time of one batch step from a model's shape and an accelerator's peaks.

Every operator takes

    t_op = max( FLOP / (e_c(n) peak),  bytes / (e_m bandwidth) ) + launch                           (2.1)
    e_c(n) = e_gemm n / (n + n_half)                                                                (2.2)

and a step is their sum over the layers, plus collectives, plus host overhead. (2.1) is the roofline of
Williams, Waterman and Patterson (CACM 52(4), 2009) with achieved in place of theoretical peaks; (2.2) is the
saturating rise of GEMM efficiency with the token dimension (tile and wave quantisation), one half-point wide.
`launch` is what each kernel costs beside its work: launch, ramp-up and tail, which the kernels of one stream do
not overlap. It is added, not a floor. All times are those of one rank; ranks of a tensor-parallel group are in
step.

Compute, traffic and launches of each operator are linear in the step's features (`features.py`), so that (2.1) for
all operators and steps is two matrix products, a maximum and a sum.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.catalog import parameters
from planner.catalog.schema import Accelerator, ExchangeCosts, Llm, Machine, Runtime
from planner.latency import collectives
from planner.latency.batch import Batch, Floats, busiest_group
from planner.latency.features import (
    DECODES,
    GROUP,
    MIXED,
    PREFILLS,
    STEP,
    TOKENS,
    features,
)
from planner.latency.layout import Layout
from planner.latency.operators import Operator, of_group, operators_of
from planner.latency.rates import Rates, link_bytes_per_s, rates_of
from planner.latency.weights import ACTIVATION_BYTES, QUANTISED

__all__ = ["OperatorCost", "Roof", "RooflineLatency"]

CHUNK = 8192  # steps computed together: their features and costs then stay in the processor's cache


@dataclass(frozen=True, eq=False)
class OperatorCost:
    """What one operator costs over a whole step, on one rank.

    Attributes
    ----------
    name : str
        Such as `qkv`, `attention-decode`, `experts`, `all-reduce`, `overhead`.
    resource : str
        `roofline`, `network` or `overhead`.
    time_s, compute_time_s, memory_time_s : ndarray
        Elapsed time, and what compute alone and memory alone would take [s].
    flop, bytes : ndarray
        Work [FLOP] and memory traffic [bytes].
    peak_flop_per_s : float
        Peak that the work is done at; 0 where there is none.
    """

    name: str
    resource: str
    time_s: Floats
    compute_time_s: Floats
    memory_time_s: Floats
    flop: Floats
    bytes: Floats
    peak_flop_per_s: float = 0.0


@dataclass(frozen=True)
class Roof:
    """A limit of one accelerator, and how much of it the runtime reaches.

    Attributes
    ----------
    name : str
        `memory` [bytes/s], or the precision of matrix products [FLOP/s].
    peak, achieved : float
        By the datasheet, and with many tokens under this runtime.
    """

    name: str
    peak: float
    achieved: float


class RooflineLatency:
    """Step times of one model on one machine under one layout, from the operator roofline.

    Parameters
    ----------
    llm, machine, accelerator, runtime : catalog entries
    layout : Layout
    draft_tokens : int
        Draft tokens that a decode step verifies for each sequence beside its next token.

    Raises
    ------
    CatalogError
        The accelerator cannot compute in the layout's precision, or ranks have no link between them.
    """

    def __init__(
        self,
        llm: Llm,
        machine: Machine,
        accelerator: Accelerator,
        runtime: Runtime,
        layout: Layout,
        draft_tokens: int = 0,
    ) -> None:
        self.llm = llm
        self._tokens_per_sequence = 1 + draft_tokens
        self.layout = layout
        self._efficiency = efficiency = runtime.efficiency(accelerator, machine)
        self._rates: Rates = rates_of(llm, accelerator, efficiency, layout)
        scale_up = machine.scale_up or accelerator.scale_up
        self._topology = scale_up.topology if scale_up else "none"
        self._domain = machine.n_accelerators // machine.group
        self._token_budget = float(runtime.prefill_token_budget)
        nics = machine.network.n_nics * machine.network.nic_bandwidth_bytes_per_s
        self._nic = efficiency.nic * nics / machine.n_accelerators
        self._link = link_bytes_per_s(machine, accelerator, min(layout.tensor_parallel, self._domain))
        self._rank_link = link_bytes_per_s(machine, accelerator, min(layout.ranks, self._domain))
        stage_link = link_bytes_per_s(machine, accelerator, min(layout.accelerators_per_replica, self._domain))
        self._stage_link = self._nic if layout.machines > 1 else efficiency.link * stage_link
        cap = machine.power_cap
        self._prefill_factor = cap.prefill_time_factor if cap else 1.0
        self._decode_factor = cap.decode_time_factor if cap else 1.0

        self._operators: list[Operator] = operators_of(llm, layout, self._rates, efficiency, self._tokens_per_sequence)
        self._lines = self._envelopes()
        self._network = self._network_rows()
        self._slow_s_per_token = self._slow_part()
        self._floor_s = llm.n_layers * efficiency.prefill_layer_floor_s
        self._names, self._rows = self._coefficients()
        self._tokens, self._prefills = self._names.index(TOKENS), self._names.index(PREFILLS)

    def _coefficients(self) -> tuple[tuple[str, ...], Floats]:
        """Names of the features that matter, and rows of coefficients [s]: host, linear device time, excesses.

        max(compute, memory) = memory + max(compute - memory, 0). An operator whose compute is below its memory
        in every coefficient, or the other way round, is linear and needs no row of its own.
        """
        host, linear, excesses = self._host(), dict[str, float](), list[dict[str, float]]()
        for o in self._operators:
            excess = {name: o.compute_s.get(name, 0.0) - o.memory_s.get(name, 0.0) for name in o.compute_s | o.memory_s}
            if all(value >= 0 for value in excess.values()):
                base = o.compute_s
            else:
                base = o.memory_s
                if any(value > 0 for value in excess.values()):
                    excesses.append(excess)
            _add(linear, base)
            _add(linear, o.fixed_s)
        for row in self._network.values():
            _add(linear, row)
        # Of lines on a lower envelope, each faster than the next up to where they cross:
        # min(l_1 ... l_n) = l_n - max(l_2 - l_1, 0) - ... - max(l_n - l_n-1, 0)
        self._n_roofline = len(excesses)
        for faster, slower in (pair for lines in self._lines.values() for pair in itertools.pairwise(lines)):
            saved = dict(slower)
            _add(saved, faster, -1.0)
            excesses.append(saved)
        rows = [host, linear, *excesses]
        used = {name for row in rows for name, value in row.items() if value != 0.0} | {STEP, TOKENS, PREFILLS}
        names = tuple(sorted(used))
        return names, np.array([[row.get(name, 0.0) for name in names] for row in rows])

    # -- public ------------------------------------------------------------------------------------------------

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s]; the shape is that of the batch's fields broadcast together."""
        fields = (
            batch.prompt_tokens, batch.attention_pairs, batch.n_prompts, batch.decode_sequences, batch.context_tokens
        )  # fmt: skip
        shape = np.broadcast(*fields)
        if shape.size <= CHUNK:
            return self._device_and_step_s(batch)[1]
        flat = [f if f.ndim == 0 else np.broadcast_to(f, shape.shape).reshape(-1) for f in fields]
        found = np.empty(shape.size)
        for start in range(0, found.size, CHUNK):
            part = slice(start, start + CHUNK)
            chunk = Batch(*(f if f.ndim == 0 else f[part] for f in flat))
            found[part] = self._device_and_step_s(chunk)[1]
        return found.reshape(shape.shape)

    def operators(self, batch: Batch) -> list[OperatorCost]:
        """Cost of every operator over the step, in the order they run; their times sum to the step's.

        (The sum is before the factor of a power cap, which `step_time_s` applies.)
        """
        zero = np.zeros(np.broadcast(batch.prompt_tokens, batch.decode_sequences).shape)
        costs: list[OperatorCost] = []
        for o in self._operators:
            compute_s, memory_s, fixed_s, flop, traffic = (
                zero + self._sum(row, batch) for row in (o.compute_s, o.memory_s, o.fixed_s, o.flop, o.bytes)
            )
            time_s = np.maximum(compute_s, memory_s) + fixed_s
            costs.append(
                OperatorCost(o.name, "roofline", time_s, compute_s, memory_s, flop, traffic, o.peak_flop_per_s)
            )
        tokens = batch.prompt_tokens + self._tokens_per_sequence * batch.decode_sequences
        for name, row in self._network.items():
            time_s = zero + self._sum(row, batch)
            for line in self._lines.get(name, [])[:-1]:
                time_s = np.minimum(time_s, self._sum(line, batch))
            if name == "all-reduce":
                time_s = time_s + self._slow_s(tokens)
            costs.append(OperatorCost(name, "network", time_s, zero, zero, zero, zero))
        busy_s, time_s = self._device_and_step_s(batch)
        overhead_s = time_s / self._factor(batch.prompt_tokens > 0) - busy_s
        costs.append(OperatorCost("overhead", "overhead", overhead_s, zero, zero, zero, zero))
        return costs

    def utilisation(self, batch: Batch) -> tuple[Floats, Floats]:
        """Fractions of peak FLOP/s and of memory bandwidth that the step keeps busy."""
        time_s = self.step_time_s(batch)
        peak_s = sum((self._sum(o.flop, batch) / o.peak_flop_per_s for o in self._operators), np.float64(0.0))
        traffic = sum((self._sum(o.bytes, batch) for o in self._operators), np.float64(0.0))
        return peak_s / time_s, traffic / (time_s * self._rates.bandwidth_bytes_per_s)

    def working(self, batch: Batch) -> Floats:
        """Fraction of the step in which operators compute or stream: neither launches nor links nor the host."""
        work_s = sum((np.maximum(self._sum(o.compute_s, batch), self._sum(o.memory_s, batch)) for o in self._operators),
                     np.float64(0.0))  # fmt: skip
        return work_s * self._factor(batch.prompt_tokens > 0) / self.step_time_s(batch)

    def roofs(self) -> list[Roof]:
        """The memory roof, and the compute roof of each precision that products are computed in, highest first."""
        bandwidth = self._rates.bandwidth_bytes_per_s
        used = [self._rates.head_gemm, self._rates.gemm, *([self._rates.experts.gemm] if self._rates.experts else [])]
        compute = [Roof(r.precision, r.peak_flop_per_s, r.flop_per_s) for r in {r.precision: r for r in used}.values()]
        compute.sort(key=lambda roof: -roof.peak)
        return [Roof("memory", bandwidth, self._efficiency.weight_streaming * bandwidth), *compute]

    # -- times of a step from its features ----------------------------------------------------------------------

    def _device_and_step_s(self, batch: Batch) -> tuple[Floats, Floats]:
        """Time of the device, and of the step: device, at least the floor of layers with prompts, and host."""
        x = self._features(batch, self._names)
        rows = np.dot(self._rows, x) if x.ndim <= 2 else np.tensordot(self._rows, x, axes=1)
        host_s, busy_s = rows[0], rows[1]
        if len(rows) > 2:
            excess_s = np.maximum(rows[2:], 0.0)
            excess_s[self._n_roofline :] *= -1.0
            busy_s = busy_s + excess_s.sum(axis=0)
        if self._slow_s_per_token:
            busy_s = busy_s + self._slow_s(x[self._tokens])
        total_s = busy_s + host_s
        if self._floor_s > 0:
            total_s = np.maximum(busy_s, self._floor_s * x[self._prefills]) + host_s
        if self.layout.pipeline_parallel > 1:
            total_s = total_s + self._efficiency.pipeline_bubble * busy_s
        if not self._prefill_factor == self._decode_factor == 1.0:
            total_s = self._factor(x[self._prefills] > 0) * total_s
        return busy_s, total_s

    def _features(self, batch: Batch, names: tuple[str, ...]) -> Floats:
        """Values of features, of which those of a group are of the busiest one's part of the batch."""
        rows, groups = self._tokens_per_sequence, self.layout.attention_data_parallel
        if groups == 1 or not names:
            return features(self.llm, batch, names, rows)
        part = busiest_group(batch, groups, self._efficiency.attention_imbalance, self._token_budget)
        of_all = tuple(n for n in names if not n.startswith(GROUP))
        of_one = tuple(n.removeprefix(GROUP) for n in names if n.startswith(GROUP))
        values = [features(self.llm, b, n, rows) for b, n in ((batch, of_all), (part, of_one)) if n]
        both = np.concatenate([np.broadcast_to(v, (len(v), *values[0].shape[1:])) for v in values])
        order = [*of_all, *(GROUP + n for n in of_one)]
        return both[[order.index(n) for n in names]]

    def _sum(self, coefficients: dict[str, float], batch: Batch) -> Floats:
        values = self._features(batch, tuple(coefficients))
        return np.tensordot(np.array(list(coefficients.values())), values, axes=1)

    def _slow_s(self, tokens: Floats) -> Floats:
        """Extra time of all-reduces in steps beyond the size at which this runtime's collective slows down."""
        limit = self._efficiency.slow_collective_tokens or 0.0
        return np.where(tokens > limit, tokens, 0.0) * self._slow_s_per_token

    def _factor(self, prefills: Floats | NDArray[np.bool_]) -> Floats:
        return np.where(prefills, self._prefill_factor, self._decode_factor)

    # -- set-up ------------------------------------------------------------------------------------------------

    def _message_bytes_per_token(self) -> float:
        return self.llm.hidden_size * ACTIVATION_BYTES

    def _exchanges(self) -> bool:
        """Whether expert layers exchange tokens between groups of ranks."""
        return self.llm.experts is not None and self.layout.attention_data_parallel > 1

    def _n_all_reduce(self) -> int:
        """An all-reduce a block; expert layers whose ranks hold other tokens exchange them in its place.

        Experts spread over the ranks of one tensor-parallel group need no exchange: every rank has all tokens, computes
        its experts' share of the sum, and the all-reduce adds them up (vLLM, SGLang and TensorRT-LLM alike).
        """
        return parameters.n_blocks(self.llm) - (self.llm.n_expert_layers if self._exchanges() else 0)

    def _network_rows(self) -> dict[str, dict[str, float]]:
        """An all-reduce a block; layers of spread experts exchange tokens in its place."""
        layout, efficiency = self.layout, self._efficiency
        message = self._message_bytes_per_token()
        alpha, tp = efficiency.all_reduce_alpha_s, layout.tensor_parallel
        rows: dict[str, dict[str, float]] = {}
        if tp > 1:
            rows["all-reduce"] = self._lines["all-reduce"][-1]
        if self._exchanges():
            rows["expert-exchange"] = self._lines["expert-exchange"][-1]
        if layout.pipeline_parallel > 1:
            hops = layout.pipeline_parallel - 1
            token_s = float(collectives.point_to_point_time_s(message / tp, self._stage_link, 0.0))
            between = efficiency.nic_alpha_s if layout.machines > 1 else 0.0
            rows["pipeline"] = self._of_group({STEP: hops * (alpha + between), TOKENS: hops * token_s})
        return rows

    def _of_group(self, row: dict[str, float]) -> dict[str, float]:
        """A collective that carries the tokens of one group of attention data parallelism."""
        return row if self.layout.attention_data_parallel == 1 else of_group(row)

    def _exchange(self, *, once_per_domain: bool) -> dict[str, float]:
        """Dispatch of tokens to their experts, in 8 bits where those are quantised, and combination of the results."""
        layout, llm, efficiency = self.layout, self.llm, self._efficiency
        assert llm.experts is not None and self._rates.experts is not None
        narrow = 1.0 if self._rates.experts.gemm.precision in QUANTISED else ACTIVATION_BYTES
        n_machines = -(-layout.ranks // self._domain)
        nic = self._nic / efficiency.nic
        rows = []
        for direction, width_bytes in (("dispatch", narrow), ("combine", ACTIVATION_BYTES)):
            token_bytes = (llm.experts.latent_size or llm.hidden_size) * width_bytes
            link_bytes, nic_bytes = collectives.exchange_bytes_per_token(
                layout.ranks,
                self._domain,
                llm.experts.n_experts_per_token,
                token_bytes,
                once_per_domain=once_per_domain,
            )
            costs = self._exchange_costs(direction, once_per_domain)
            rows.append(
                collectives.exchange_time_s(
                    np.array([0.0, 1.0]), link_bytes, nic_bytes, n_machines, costs, self._rank_link, nic
                )
            )
        fixed_s, with_token_s = (float(sum(row[i] for row in rows)) for i in (0, 1))
        n = llm.n_expert_layers * efficiency.exchange_exposed
        return {STEP: n * fixed_s, TOKENS: n * (with_token_s - fixed_s) / layout.tensor_parallel}

    def _exchange_costs(self, direction: str, once_per_domain: bool) -> ExchangeCosts:
        """What the runtime was measured to take, or its general figures for collectives and NICs."""
        efficiency = self._efficiency
        form = efficiency.high_throughput_exchange if once_per_domain else efficiency.low_latency_exchange
        if form is not None:
            costs: ExchangeCosts = getattr(form, direction)
            if costs.network is not None:
                return costs
            return costs.model_copy(update={"network": efficiency.nic, "node_alpha_s": efficiency.nic_alpha_s})
        # High-throughput kernels first tell all ranks how much is coming: measured, about twice the fixed cost.
        times = 2.0 if once_per_domain else 1.0
        return ExchangeCosts(
            alpha_s=times * efficiency.exchange_alpha_s,
            node_alpha_s=times * efficiency.nic_alpha_s,
            link=efficiency.link,
            network=efficiency.nic,
            bytes_per_element=ACTIVATION_BYTES,
        )

    def _envelopes(self) -> dict[str, list[dict[str, float]]]:
        """Collectives of a step by each algorithm that is fastest for some size, smallest messages first."""
        found = {}
        if lines := self._all_reduce_lines():
            found["all-reduce"] = lines
        if self._exchanges():
            both = [self._exchange(once_per_domain=once) for once in (False, True)]
            fixed_and_slope = collectives.lower_envelope([(row[STEP], row[TOKENS]) for row in both])
            rows = [{STEP: fixed_s, TOKENS: token_s} for fixed_s, token_s in fixed_and_slope]
            found["expert-exchange"] = [self._of_group(row) for row in rows]
        return found

    def _all_reduce_lines(self) -> list[dict[str, float]]:
        """All-reduces of a step: direct ones for small messages and the ring.

        Direct ones need access to the memory of every peer, which more than two ranks have only behind a switch or
        mesh. Across machines the ranks of each reduce, then those of like place.
        """
        tp, efficiency = self.layout.tensor_parallel, self._efficiency
        if tp == 1:
            return []
        inside = min(tp, self._domain)
        reachable = inside == 2 or self._topology in ("switched", "mesh", "torus")
        message, n = self._message_bytes_per_token(), self._n_all_reduce()
        across_s = across_token_s = 0.0
        if tp > inside:
            k, alpha, hop = tp // inside, efficiency.nic_alpha_s, efficiency.all_reduce_hop_s
            across_s = float(collectives.all_reduce_time_s(0.0, k, self._nic, alpha, hop))
            across_token_s = float(collectives.all_reduce_time_s(message / inside, k, self._nic, 0.0))
        lines = collectives.all_reduce_lines(efficiency, inside, self._link, direct=reachable)
        return [
            self._of_group({STEP: n * (fixed_s + across_s), TOKENS: n * (message * byte_s + across_token_s)})
            for fixed_s, byte_s in lines
        ]

    def _slow_part(self) -> float:
        """Seconds a token that a step's all-reduces take longer once they run slowly."""
        efficiency, tp = self._efficiency, self.layout.tensor_parallel
        if tp == 1 or efficiency.slow_collective_tokens is None or efficiency.slow_collective_link is None:
            return 0.0
        n_all_reduce = self._n_all_reduce()
        at_link_s = float(collectives.all_reduce_time_s(self._message_bytes_per_token(), tp, self._link, 0.0))
        return n_all_reduce * at_link_s * max(1 / efficiency.slow_collective_link - 1 / efficiency.link, 0.0)

    def _host(self) -> dict[str, float]:
        """Host time: a step, a layer and a decoding sequence; a mixed step has the longer of both layer times."""
        efficiency, n_layers = self._efficiency, self.llm.n_layers
        decode_s, prefill_s = efficiency.layer_overhead_s, efficiency.prefill_layer_overhead_s
        return {
            STEP: efficiency.step_overhead_s + n_layers * decode_s,
            PREFILLS: n_layers * (prefill_s - decode_s),
            MIXED: n_layers * max(decode_s - prefill_s, 0.0),
            DECODES: efficiency.sequence_overhead_s / self.layout.attention_data_parallel,
        }


def _add(total: dict[str, float], row: dict[str, float], factor: float = 1.0) -> None:
    for name, value in row.items():
        total[name] = total.get(name, 0.0) + factor * value
