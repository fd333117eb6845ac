# SPDX-License-Identifier: Apache-2.0
"""End a command that trains in other processes as Ctrl-C does, whichever signal stops it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Terminated(KeyboardInterrupt):
    """Stand for SIGTERM, which a scheduler or `kill` sends."""


@contextmanager
def resumable_command(name: str) -> Iterator[None]:
    """Say how to resume, and exit with 128 and the signal's number, if Ctrl-C or SIGTERM stops what is inside.

    Without this, SIGTERM would end the process at once: nothing would be said, and its pool of workers would leak.

    Args:
        name: Name of the command, such as ``monocon compare``.
    """
    is_main = threading.current_thread() is threading.main_thread()  # only there may signals be handled
    previous = signal.signal(signal.SIGTERM, _terminate) if is_main else None
    try:
        yield
    except KeyboardInterrupt as stopped:
        print(f"{name}: stopped; nothing is lost, and the same command resumes.", file=sys.stderr)
        number = signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT
        raise SystemExit(128 + number) from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated
