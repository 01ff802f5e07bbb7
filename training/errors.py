"""What can go wrong in training and evaluation, each with what to do about it."""

from model.errors import ReferentError


class TrainingError(ReferentError):
    """Something that stands in the way of training or evaluating; the message says what to do."""


class DatasetError(TrainingError):
    """A data set is missing, incomplete or not of its form."""


class Interrupted(TrainingError):
    """Stopped by a wish (Ctrl-C, SIGTERM) before it was done; the message says what was kept."""


class Diverged(TrainingError):
    """A loss or a gradient is no finite number: there is nothing more to learn in this run."""
