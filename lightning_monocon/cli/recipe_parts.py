# SPDX-License-Identifier: Apache-2.0
"""Build one part of a recipe, for a command without a trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

from jsonargparse import ArgumentParser

from lightning_monocon.cli.mistakes import explain, refusal
from lightning_monocon.cli.nulls import check_nulls

Part = TypeVar("Part")


def build_part(kind: type[Part], name: str, settings: object, overrides: Sequence[str] = ()) -> Part:
    """Build the part of a recipe that ``settings`` describe, as `monocon fit` would.

    Args:
        kind: The class that the part must be an instance of.
        name: The name of the part, such as ``data``; overrides are written ``--data.batch_size 64``.
        settings: Either ``{"class_path": ..., "init_args": ...}`` or the path of a class.
        overrides: Words of the command line that change the settings.

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
        built: Part = parser.instantiate(parsed)[name]
    except Exception as error:  # jsonargparse raises what the part's own constructor does
        own = refusal(error)
        raise ValueError(str(own) if own else explain(str(error), "monocon export", [name])) from error
    return built
