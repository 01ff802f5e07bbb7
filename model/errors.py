"""The root of every error that Referent raises on purpose.

Each carries one sentence that names what is wrong and what to do about it; the command line
prints it as ``error: ...`` and leaves with status 2, the HTTP API turns it into a problem document.
"""


class ReferentError(Exception):
    """Something that the user can mend; the message says how."""


class ModelError(ReferentError):
    """A model, its weights or its configuration cannot be used."""


class UnknownModel(ModelError):
    """No model has this name."""


class WeightsError(ModelError):
    """A weights file is missing, truncated or made for another network."""


class ModelVersionMismatch(ModelError):
    """Cached features were made by another network than the one that is asked to judge them."""


class PhotoError(ReferentError):
    """A photo cannot be read; the message names the reason."""


class ExpressionError(ReferentError):
    """An expression cannot be used as a query."""
