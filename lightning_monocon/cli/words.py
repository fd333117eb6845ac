# SPDX-License-Identifier: Apache-2.0
"""What every command does with its words: find recipes by name, and say in one sentence which word is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lightning_monocon import recipes


def stop(reason: str) -> NoReturn:
    """Print the reason and leave with status 2."""
    print(f"monocon: error: {reason}", file=sys.stderr)
    raise SystemExit(2)


def expanded(path: str) -> str:
    """Return a path of the command line or of a recipe with ``~`` replaced; a shell leaves that of ``--out=~/x``.

    Example:
        >>> expanded("runs/a~")
        'runs/a~'
    """
    return os.path.expanduser(path)


def expanded_path(path: str) -> Path:
    """Return what `expanded` does, as a path."""
    return Path(expanded(path))


class OneSentenceParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with status 2."""
        stop(f"{message}; `{self.prog} --help` lists the options")


def resolve_recipes(args: Sequence[str]) -> list[str]:
    """Replace a recipe's name behind ``--config`` or ``-c`` by its file; paths stay as they are.

    A URL is refused, unless ``--allow-remote-config`` is among the words.

    Raises:
        SystemExit: With status 2 if there is neither such a file nor such a recipe.
    """
    words, remote = list(args), "--allow-remote-config" in args
    for i, word in enumerate(words):
        if i and words[i - 1] in ("-c", "--config"):
            words[i] = _recipe_file(word, remote)
        elif word.startswith("--config="):
            words[i] = "--config=" + _recipe_file(word.removeprefix("--config="), remote)
    return words


def _recipe_file(name: str, remote: bool) -> str:
    if "://" in name and remote:
        return name
    if "://" in name:
        stop(
            f"`--config` must be a recipe's name or a local file, got the URL {name!r}; download and read it first, "
            "or say --allow-remote-config"
        )
    name = expanded(name)
    if Path(name).is_file() or name.endswith((".yaml", ".yml", ".json")):
        return name
    try:
        return str(recipes.path(name))
    except ValueError as error:
        stop(str(error))
