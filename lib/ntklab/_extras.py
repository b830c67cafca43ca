"""What a plain installation lacks: the extra that brings it is named where it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MissingExtra", "needed_by"]


class MissingExtra(ModuleNotFoundError):
    """Something needs what a plain installation does not bring."""


@contextmanager
def needed_by(user: str) -> Iterator[None]:
    """Let what `user` imports here fail with the command that installs it.

    Args:
        user: the module or function that needs what is imported in the block.

    Raises:
        MissingExtra: in place of the error that names the missing module only.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f'{user} needs {error.name}, which the extra "book" brings: pip install "ntklab[book]"',
            name=error.name,
        ) from error
