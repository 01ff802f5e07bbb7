"""What can go wrong in training and evaluation, each with what to do about it."""

from model.errors import ReferentError


class TrainingError(ReferentError):
    """Something that stands in the way of training or evaluating; the message says what to do."""


class DatasetError(TrainingError):
    """A data set is missing, incomplete or not of its form."""
