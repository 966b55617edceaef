"""What can go wrong for a user, and the exit code each kind of trouble ends with."""

from collections.abc import Sequence


class LoglinearError(Exception):
    """A failure told to the user in one message, without a traceback."""

    exit_code = 1


class StageError(LoglinearError):
    """A phase, job or run failed; the message carries the remedy."""


class ConfigError(LoglinearError):
    """The configuration or the command line is wrong; every problem found is listed, one per line."""

    exit_code = 2

    def __init__(self, problems: Sequence[str] | str):
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class FormatError(LoglinearError):
    """A file on disk is not what it should be; the message names the file, the fault and the remedy."""

    exit_code = 2


class Stopped(LoglinearError):  # noqa: N818 - it is no error
    """Stopped on request with a checkpoint saved and more to do; the same command goes on."""

    exit_code = 75
