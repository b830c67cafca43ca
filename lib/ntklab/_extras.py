"""What a plain installation lacks: the extra that brings it is named where it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needed_by"]


@contextmanager
def needed_by(user: str) -> Iterator[None]:
    """Let what `user` imports here fail with the command that installs it.

    Args:
        user: the module or function that needs what is imported in the block.

    Raises:
        ModuleNotFoundError: in place of the one that names the missing module only.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{user} needs {error.name}, which the extra "book" brings: pip install "ntklab[book]"',
            name=error.name,
        ) from error
