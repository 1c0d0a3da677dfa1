"""Timing, on a user's own GPU, the handful of kernels that serving a model needs.

Needs torch, which is imported only when something is measured (`pip install 'splitwise-planner[gpu]'`). The result is
a table of kernels that `planner calibrate` reads.
"""

from planner.calibration.measure.plan import Kernel, kernels_for
from planner.calibration.measure.run import Timing, measure_kernels, require_gpu
from planner.calibration.measure.table import table_text

__all__ = ["Kernel", "Timing", "kernels_for", "measure_kernels", "require_gpu", "table_text"]
