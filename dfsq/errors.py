"""Failures that a user can act on.

Every message is one line that names the value, the limit and the remedy. The command line prints it and exits with
:attr:`DfsqError.exit_code`; a caller from Python catches the type. Parameters stand in backquotes, which the command
line replaces by its flags.
"""


class DfsqError(Exception):
    """A run that cannot go on: damaged input, unreadable image, full disk. Exit code 1."""

    exit_code = 1


class UsageError(DfsqError):
    """A request that cannot be right: an option out of range, a pattern without a match. Exit code 2."""

    exit_code = 2


class CheckpointError(DfsqError):
    """A checkpoint that cannot be read as the state of a known network."""


class ArtifactError(DfsqError):
    """A dfsq artifact that is damaged or was written by a newer version."""


class ImageError(DfsqError):
    """An image, or a folder of images, that cannot be used."""


class LayoutError(UsageError):
    """LR images that seem to belong to HR images, of which it is not clear whether they are meant."""

    def __init__(self, problem: str, hr: object, lr: object) -> None:
        """``hr`` and ``lr`` are the folders that are likely meant."""
        super().__init__(f"{problem}; name both folders, hr {hr} and lr {lr}, or move the latter away")
        self.problem = problem
        self.hr = hr
        self.lr = lr


class OutputError(DfsqError):
    """A model whose output is no image: not finite."""


class WorkerLostError(DfsqError):
    """One of several processes ended before the run was done."""


class EngineError(DfsqError, RuntimeError):
    """What an engine's library says of a graph or an image: mostly that memory ran out, or an image is too small."""
