"""Training a compiled model: epochs of shuffled batches, a learning rate that falls, accuracy.

`fit` is the loop; it knows a model only by the few calls in `protocol`. Progress is reported to an
object of the caller's; `progress` has one for the terminal.
"""

from autodiffc.training.history import EpochRecord, History
from autodiffc.training.loop import fit
from autodiffc.training.progress import progress_for_terminal
from autodiffc.training.protocol import Progress, Trainable, TrainingPlan
from autodiffc.training.schedule import Constant, LinearFall, Schedule

__all__ = [
    "fit",
    "History",
    "EpochRecord",
    "Schedule",
    "Constant",
    "LinearFall",
    "Trainable",
    "TrainingPlan",
    "Progress",
    "progress_for_terminal",
]
