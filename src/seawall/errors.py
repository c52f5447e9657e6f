"""Errors that are the user's to mend. The command line prints their text alone and exits 2."""


class SeawallError(Exception):
    """Base of all: says what was found, why it fails and what to do."""


class ConfigError(SeawallError, ValueError):
    """A setting that cannot work."""


class DataError(SeawallError, ValueError):
    """Input data that cannot be read or used."""


class ModelError(SeawallError, ValueError):
    """A model or organism that is unknown, incomplete or of an unsupported family."""


class ArtifactError(SeawallError, ValueError):
    """A folder of artifacts that is missing, incomplete or belongs to another run."""


class TrainingError(SeawallError, RuntimeError):
    """A training or an optimisation that went wrong, for example into NaN."""


class EngineError(SeawallError, RuntimeError):
    """Workers that cannot be had or kept."""
