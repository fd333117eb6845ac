# SPDX-License-Identifier: Apache-2.0
"""Optional packages and pretrained weights: where one is missing, one clear sentence instead of a long traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def optional_package(name: str, extra: str) -> Any:  # noqa: ANN401  # a module has no better type
    """Import a package that an extra of this one installs.

    Args:
        name: The module to import.
        extra: The extra that brings it.

    Raises:
        ModuleNotFoundError: If it is not installed; the message names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`{name}` must be installed for this encoder: pip install 'lightning-monocon[{extra}]' ({error})."
        ) from error


@contextmanager
def reachable(argument: str, source: str) -> Iterator[None]:
    """Say in one sentence that a model could not be had.

    Args:
        argument: Name of the user's argument.
        source: Its value, a path or the name of a model.

    Raises:
        RuntimeError: If what runs inside fails to read a file or to reach a hub.
    """
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise RuntimeError(
            f"`{argument}` must be a local file or folder, or name a model of a hub that can be reached; {source!r} "
            f"could not be had ({type(error).__name__}: {reason}). Download it where there is a network and give its "
            "path."
        ) from error
