"""Every error autoprune raises on purpose.

Each one is a sentence a user can act on: what is wrong, what was given, what is allowed, what to
do next. Each also derives from the builtin a caller would catch.

AutopruneError
 +-- InputError            the user can mend it; the CLI exits with 2
      +-- ConfigError      a search file, a space, a runner, an option
      +-- BudgetError      a limit that cannot be read, reached, or is met already
      +-- ModelError       the model does not import, build, run or trace
      |    +-- OutOfMemoryError  memory ran out while one was trained
      +-- CheckpointError  weights that cannot be loaded safely
      +-- DataError        loaders that raise or yield something else than the task needs
      +-- OutputError      the output folder cannot be used
      +-- RunExistsError   a run is there already
      +-- ArtifactError    a result folder is incomplete or was altered
 +-- InfrastructureError   what the search runs on failed; the same command goes on later
 +-- ElsewhereError        another agent finished the run, or it was removed; nothing is left here
 +-- CandidateError        one candidate failed; the search goes on
 +-- VerificationError     a result failed its checks and was not written
"""


class AutopruneError(Exception):
    """Base of every error raised on purpose."""


class InputError(AutopruneError):
    """Something the user gave cannot be used."""


class ConfigError(InputError, ValueError):
    """A file or option that cannot be understood."""


class BudgetError(InputError, ValueError):
    """A limit that cannot be read or reached, or that the dense model meets already."""


class ModelError(InputError, RuntimeError):
    """A model that does not import, build, run or trace."""


class OutOfMemoryError(ModelError):
    """Memory that ran out while a pruned model was trained."""


class CheckpointError(InputError, ValueError):
    """Weights that do not fit the model or would need code to be loaded."""


class DataError(InputError, ValueError):
    """Data that does not have the form its task needs."""


class OutputError(InputError, OSError):
    """An output folder that cannot be written."""


class RunExistsError(InputError, FileExistsError):
    """The output folder holds a run already."""


class ArtifactError(InputError, ValueError):
    """A result folder that is incomplete, altered, or of another version."""


class InfrastructureError(AutopruneError, RuntimeError):
    """Workers, a database server or a cluster that failed; nothing that was given is wrong."""


class ElsewhereError(AutopruneError, RuntimeError):
    """A run that another agent finished or works on alone, or that somebody removed."""


class CandidateError(AutopruneError, RuntimeError):
    """One candidate could not be scored; its trial fails and the search goes on."""


class VerificationError(AutopruneError, RuntimeError):
    """A result that failed its checks; nothing was written as a result."""
