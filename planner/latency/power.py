"""Electrical power of a machine from how busy its accelerators are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from planner.catalog.schema import Accelerator, Efficiency, Machine
from planner.latency.batch import Batch, Floats
from planner.latency.roofline import RooflineLatency


def accelerator_power_w(
    compute_utilisation: ArrayLike,
    memory_utilisation: ArrayLike,
    tdp_w: float,
    efficiency: Efficiency,
    cap: float = 1.0,
    working: ArrayLike = 0.0,
) -> Floats:
    """Power of one accelerator in a step.

    Parameters
    ----------
    compute_utilisation, memory_utilisation : float or array_like
        Fractions of peak FLOP/s and of memory bandwidth in use.
    tdp_w : float
        Rated power of the accelerator [W].
    efficiency : Efficiency
        Holds the coefficients p_0, p_w, a_c, a_m and the idle level.
    cap : float
        Power cap as a fraction of `tdp_w`.
    working : float or array_like
        Fraction of the step in which kernels compute or stream (`RooflineLatency.working`).

    Returns
    -------
    ndarray
        Power [W].

    Notes
    -----
    P = TDP clip(p_0 + p_w w + a_c u_c + a_m u_m, idle, cap)                                         (5.1)

    What an accelerator draws follows how long its processors are at work, whatever they reach meanwhile: hardware
    counters of an H200 put power on a straight line in that share, from 0.14 to 0.9 of TDP, where neither memory nor
    tensor cores are busier than 28 %. `benchmarks/power.py` fits the coefficients and names the tables.
    """
    demand = (
        efficiency.power_base
        + efficiency.power_working * np.asarray(working, dtype=float)
        + efficiency.power_compute * np.asarray(compute_utilisation, dtype=float)
        + efficiency.power_memory * np.asarray(memory_utilisation, dtype=float)
    )
    return tdp_w * np.clip(demand, efficiency.power_idle, cap)


def step_power_w(
    step: RooflineLatency, batch: Batch, accelerator: Accelerator, efficiency: Efficiency, cap: float = 1.0
) -> float:
    """Power of one accelerator in a step [W], from what the roofline keeps busy in it; arguments as in (1)."""
    compute, memory = step.utilisation(batch)
    return float(accelerator_power_w(compute, memory, accelerator.tdp_w, efficiency, cap, step.working(batch)))


def machine_power_w(
    machine: Machine, accelerator: Accelerator, efficiency: Efficiency, busy_power_w: float, busy_fraction: float
) -> float:
    """Mean power of a machine whose accelerators draw `busy_power_w` each for `busy_fraction` of the time [W]."""
    idle_w = efficiency.power_idle * accelerator.tdp_w
    mean_w = busy_fraction * busy_power_w + (1.0 - busy_fraction) * idle_w
    return machine.chassis_power_w + machine.n_accelerators * mean_w
