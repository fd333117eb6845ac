# SPDX-License-Identifier: Apache-2.0
"""Single parts of a recipe (its data, its encoder), for commands that need no trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from lightning_monocon.cli.nulls import check_nulls
from lightning_monocon.cli.yaml_files import read_yaml

Part = TypeVar("Part")


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Return a recipe, or the ``config.yaml`` of a run, as plain values.

    Raises:
        ValueError: If the file is missing, is not a YAML mapping, or holds a key twice.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"`--config` must be a recipe's name or an existing file, got {str(path)!r}.")
    return read_yaml(file)


def build_part(kind: type[Part], name: str, settings: object, overrides: Sequence[str] = ()) -> Part:
    """Build the part of a recipe that ``settings`` describe, as `monocon fit` would.

    Args:
        kind: what the part must be.
        name: of the part, such as ``data``; overrides are written ``--data.batch_size 64``.
        settings: ``{"class_path": ..., "init_args": ...}``.
        overrides: words of the command line.

    Raises:
        ValueError: If the recipe has no such part, or it does not fit.
    """
    if not isinstance(settings, dict | str):
        raise ValueError(f"`--config` must say its `{name}`; got {settings!r}.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, name, required=True)
    try:
        parsed = parser.parse_args([f"--{name}", json.dumps(settings), *overrides])
        check_nulls(parser, parsed)
    except Exception as error:  # jsonargparse raises what the part's own constructor does
        raise ValueError(f"`{name}` must describe a {kind.__name__}: {error}") from error
    built: Part = parser.instantiate(parsed)[name]
    return built
