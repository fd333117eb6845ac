# SPDX-License-Identifier: Apache-2.0
"""Put errors in terms of the argument that the user gave, where a reader further down knows it by another name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def named(argument: str, *inner: str, parts: Sequence[str] = ()) -> Iterator[None]:
    """Replace the names of arguments in the errors of a reader by the name of the argument that it serves.

    Args:
        argument: The argument that was given, without backticks.
        inner: What the reader calls it.
        parts: What the reader calls its parts, which become "`part` of `argument`".

    Example:
        >>> with named("qrels", "path"):
        ...     raise ValueError("`path` must hold rows.")
        Traceback (most recent call last):
        ValueError: `qrels` must hold rows.
        >>> with named("--new", parts=["gallery"]):
        ...     raise ValueError("`gallery` must be finite.")
        Traceback (most recent call last):
        ValueError: `gallery` of `--new` must be finite.
    """
    try:
        yield
    except (FileNotFoundError, TypeError, ValueError) as error:
        text = str(error)
        for name in inner:
            text = text.replace(f"`{name}`", f"`{argument}`")
        for part in parts:
            text = text.replace(f"`{part}`", f"`{part}` of `{argument}`")
        # a subclass, such as UnicodeDecodeError, has other arguments
        if text == str(error) or type(error) not in (FileNotFoundError, TypeError, ValueError):
            raise
        raise type(error)(text) from error
