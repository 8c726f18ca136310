"""Callbacks: what watches a run and may steer it; one family a file."""

from kernelearn.training.callbacks.averages import SwapEMAWeights
from kernelearn.training.callbacks.backup import BackupAndRestore
from kernelearn.training.callbacks.base import Callback
from kernelearn.training.callbacks.callback_list import CallbackList
from kernelearn.training.callbacks.csv_logger import CSVLogger
from kernelearn.training.callbacks.early_stopping import EarlyStopping
from kernelearn.training.callbacks.gradual_unfreezing import GradualUnfreezing
from kernelearn.training.callbacks.history import History
from kernelearn.training.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from kernelearn.training.callbacks.model_checkpoint import ModelCheckpoint
from kernelearn.training.callbacks.progress_bar import ProgressBar
from kernelearn.training.callbacks.simple import LambdaCallback, TerminateOnNaN
from kernelearn.training.callbacks.tensorboard import TensorBoard

# Keras's name.
ProgbarLogger = ProgressBar

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ProgressBar",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
