# SPDX-License-Identifier: Apache-2.0
"""Load optional packages and pretrained weights, with one clear sentence if one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

_PATIENCE = 10.0
"""Seconds to wait for a hub's answer."""


def optional_package(name: str, extra: str) -> ModuleType:
    """Import a package that an extra installs; raise ModuleNotFoundError, naming the extra, if it is missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`{name}` must be installed: pip install 'lightning-monocon[{extra}]' ({error})."
        ) from error


def is_local(name: str) -> bool:
    """Return whether to load a model from this machine only: from a folder, or because its hub does not answer.

    The hub's client asks five times for every file, half a minute each, even for files in its cache. One request
    beforehand avoids that.

    Args:
        name: A folder, or a name on the Hugging Face hub.

    Raises:
        ModuleNotFoundError: If the hub's client is not installed.
    """
    if Path(name).is_dir():
        return True
    hub = optional_package("huggingface_hub", "text")
    try:
        hub.HfApi().model_info(name, timeout=_PATIENCE)
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError):
        return False  # the loader reports what is wrong with the name
    except Exception:  # no answer; the error depends on the HTTP library of the client's version
        return True
    return False


@contextmanager
def reachable(argument: str, source: str) -> Iterator[None]:
    """Turn a failure of the block to read a file or to reach a hub into a RuntimeError of one sentence."""
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise RuntimeError(
            f"`{argument}` must be a local file or folder, or name a model of a hub that can be reached; {source!r} "
            f"could not be loaded ({type(error).__name__}: {reason}). Download it on a machine with a network and "
            "give its path."
        ) from error
