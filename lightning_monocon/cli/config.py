# SPDX-License-Identifier: Apache-2.0
"""Share what every command needs: recipes, flags in both spellings, and one way to stop with a sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from lightning_monocon import recipes

TRACEBACK = "MONOCON_TRACEBACK"
"""Environment variable: set it to see where an error was raised."""


def stop(reason: str) -> NoReturn:
    """Print the reason and exit with status 2."""
    print(f"monocon: error: {reason}", file=sys.stderr)
    raise SystemExit(2)


def refuse(error: BaseException) -> NoReturn:
    """Print an error as one sentence and exit: with status 1 where the run failed (RuntimeError), otherwise with 2."""
    print(f"monocon: error: {' '.join(str(error).split())}", file=sys.stderr)
    raise SystemExit(1 if isinstance(error, RuntimeError) else 2) from error


@contextmanager
def refusing() -> Iterator[None]:
    """Print an error of a command that reads anybody's files as one sentence, whichever library raises it.

    Raises:
        SystemExit: With status 1 where the run failed (RuntimeError), otherwise with 2.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError, RuntimeError) as error:
        if os.environ.get(TRACEBACK):
            raise
        refuse(error)


def expanded(path: str) -> str:
    """Return a path with ``~`` replaced by the home folder; a shell does not replace that of ``--out=~/x``.

    Example:
        >>> expanded("runs/a~")
        'runs/a~'
    """
    return os.path.expanduser(path)


class OptionParser(argparse.ArgumentParser):
    """Take ``--run-dir`` and ``--run_dir`` for the same flag, whichever of the two was added.

    Flags with a dot name arguments of Python classes and have one spelling, that of Python.
    """

    def config_file(self, name: str) -> str:
        """Return the path of a YAML file of options, given what the command line calls it."""
        return name

    def _parse_optional(self, arg_string: str) -> tuple[argparse.Action | None, str, str | None] | None:
        flag, equals, value = arg_string.partition("=")
        known = self._option_string_actions
        if flag.startswith("--") and "." not in flag and flag not in known:
            name = flag[2:]
            others = ("--" + name.replace("_", "-"), "--" + name.replace("-", "_"))
            flag = next((other for other in others if other in known), flag)
        return super()._parse_optional(flag + equals + value)


def recipe_file(name: str, remote: bool = False) -> str:
    """Return the file of a recipe, which is given by its name or by its path.

    Args:
        name: The name of a packaged recipe, or the path of a YAML file.
        remote: Whether a URL may be given, which is returned as it is.

    Raises:
        SystemExit: With status 2 if there is neither such a file nor such a recipe.
    """
    if "://" in name and remote:
        return name
    if "://" in name:
        stop(
            f"`--config` must be a recipe's name or a local file, got the URL {name!r}; download and read it first, "
            "or say --allow-remote-config"
        )
    path = expanded(name)
    if Path(path).is_file() or path.endswith((".yaml", ".yml", ".json")):
        return path
    try:
        return str(recipes.path(path, "--config"))
    except ValueError as error:
        stop(str(error))
