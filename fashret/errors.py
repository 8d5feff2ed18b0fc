"""The errors that fashret raises for its users.

FashretError              everything below; commands print it as one message and exit with status 1
├── ConfigError           a key, value or option that does not exist or is not allowed
├── DataError             a data set, table, row or photo that cannot be used
├── CatalogError          a catalog that is missing, damaged, or of another model or data set
├── CheckpointError       weights that are missing, unreadable or of another model
├── TrainingError         a failed training run: a loss of NaN or Inf, collapsed embeddings
└── RegressionError       a significant regression or a target not met, with fail_on_regression
"""


class FashretError(Exception):
    """The base class of errors for users: the message says what is wrong, where, and what to do."""


class ConfigError(FashretError):
    """A configuration with a key, value or option that is not allowed."""


class DataError(FashretError):
    """A data set, table, row or photo that cannot be used."""


class CatalogError(FashretError):
    """A catalog that is missing, damaged, or of another model or data set."""


class CheckpointError(FashretError):
    """Model weights that are missing, unreadable, or of another model."""


class TrainingError(FashretError):
    """A training run that failed, such as with a loss of NaN or collapsed embeddings."""


class RegressionError(FashretError):
    """A significant regression, or a target that is not met, with fail_on_regression=true."""
