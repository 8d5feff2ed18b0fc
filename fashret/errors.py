"""The errors that fashret raises for its users.

FashretError              everything below; the root scripts print it as one message and exit 1
├── ConfigError           a key, value or option that does not exist or does not fit
├── DataError             a data set, table, row or photo that cannot be used
├── CatalogError          a catalog that is missing, damaged or of another model or data set
├── CheckpointError       weights that are missing, unreadable or of another model
├── TrainingError         a run that is lost: a loss that is no number, embeddings that collapsed
└── RegressionError       a significant regression or a target not met, with fail_on_regression
"""


class FashretError(Exception):
    """An error with a message for the user: what is wrong, where, and the next step."""


class ConfigError(FashretError):
    """A configuration that cannot be run."""


class DataError(FashretError):
    """Data that cannot be used."""


class CatalogError(FashretError):
    """A catalog that cannot be used."""


class CheckpointError(FashretError):
    """Model weights that cannot be used."""


class TrainingError(FashretError):
    """A run that cannot go on."""


class RegressionError(FashretError):
    """A model that became worse."""
