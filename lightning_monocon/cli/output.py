# SPDX-License-Identifier: Apache-2.0
"""Let a command outlive its terminal: it loses what it prints, and nothing else."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast


class LastingStream(io.TextIOBase):
    """Write text to a stream, and nowhere once its reader is gone, instead of raising an error at each write.

    Args:
        stream: Standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str, /) -> int:
        """Write to the stream, or nowhere."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if anyone reads it."""
        self._try(self.stream.flush)

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        """Return the encoding of the stream."""
        return self.stream.encoding

    def __getattr__(self, name: str) -> object:
        """Return whatever else the stream has."""
        return getattr(self.stream, name)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError:  # a closed pipe, or a terminal that hung up; a full disk behind `> file` too
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


@contextmanager
def outliving_output() -> Iterator[None]:
    """Keep standard output and standard error usable; one that is closed from the start goes nowhere."""
    before = sys.stdout, sys.stderr
    for number in range(3):  # the next file that is opened would take the place of a closed one
        _occupy(number)
    sys.stdout, sys.stderr = (
        cast(TextIO, LastingStream(stream or open(os.devnull, "w", encoding="utf-8")))  # as long as the process
        for stream in before
    )
    try:
        yield
    finally:
        for lasting in (sys.stdout, sys.stderr):
            lasting.flush()  # here, where a closed pipe is no error yet; the interpreter would report one at its end
        sys.stdout, sys.stderr = before


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
