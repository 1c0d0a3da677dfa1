"""Fitting a runtime's efficiencies to measurements.

`read_measurements` reads what benchmark tools write, `calibrate` fits the few physical parameters of the latency
model to it, and `overlay` turns the fit into a catalog file. Knows no pool, price or solver.
"""

from planner.calibration.fit import Calibration, calibrate
from planner.calibration.measurements import (
    KernelMeasurement,
    Measurements,
    ServingMeasurement,
    StepMeasurement,
)
from planner.calibration.overlay import overlay_text
from planner.calibration.readers import FORMATS, read_measurements

__all__ = [
    "FORMATS",
    "Calibration",
    "KernelMeasurement",
    "Measurements",
    "ServingMeasurement",
    "StepMeasurement",
    "calibrate",
    "overlay_text",
    "read_measurements",
]
