# SPDX-License-Identifier: Apache-2.0
"""Say where a scorecard comes from: data, recipe, encoder, version, date and command."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

CONFIG = "config.yaml"
"""Configuration that a training leaves in its run's folder."""

_LONGEST = 240


def _today() -> str:
    """Return the time in UTC; ``SOURCE_DATE_EPOCH`` sets it, so that a report can be made again byte by byte."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.now(timezone.utc) if epoch is None else datetime.fromtimestamp(int(epoch), timezone.utc)
    return f"{now:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Origin:
    """Where a scorecard comes from; what is not known is empty.

    Attributes:
        data: the data set.
        recipe: names of the recipes.
        encoder: the encoder below every head.
        version: of this package.
        date: when the scorecard was made, in UTC.
        command: that made it.
    """

    data: str = ""
    recipe: str = ""
    encoder: str = ""
    version: str = field(default_factory=lambda: version("lightning-monocon"))
    date: str = field(default_factory=_today)
    command: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """Return what is known as pairs of a name and a value, in the order of a report."""
        pairs = [
            ("Data", self.data),
            ("Recipe", self.recipe),
            ("Encoder", self.encoder),
            ("Made", f"{self.date}, lightning-monocon {self.version}"),
            ("Command", self.command),
        ]
        return [(name, value) for name, value in pairs if value]


def origin_of(folders: Iterable[Path] = (), words: Sequence[str] | None = None) -> Origin:
    """Return the origin of a scorecard that this process makes.

    Args:
        folders: of the runs that are scored; data and encoder are read from their configurations.
        words: the command and its arguments, of this process by default.
    """
    words = command_line() if words is None else words
    configs = [_config(folder / CONFIG) for folder in folders]
    return Origin(
        data=_all_different(_described(config.get("data")) for config in configs),
        recipe=_all_different(Path(name).name.removesuffix(".yaml") for name in _options(words, "--config")),
        encoder=_all_different(_described(_section(config, "model").get("encoder")) for config in configs),
        command=shlex.join(words),
    )


def command_line() -> list[str]:
    """Return the words of this process if it is ``monocon``; none in a script or a notebook of a user."""
    program, *rest = sys.argv or [""]
    path = Path(program)
    is_ours = path.stem == "monocon" or (path.stem, path.parent.name) == ("__main__", "lightning_monocon")
    return ["monocon", *rest] if is_ours else []


def _options(words: Sequence[str], name: str) -> list[str]:
    """Return every value of an option, written ``--name value`` or ``--name=value``."""
    following = [after for word, after in pairwise(words) if word == name]
    return following + [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]


def _config(path: Path) -> dict[str, Any]:
    """Return a configuration; nothing if there is none, since a report is worth more than its heading."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _described(value: object) -> str:
    """Return ``Name(argument=value, ...)`` of a class path with arguments, which leaves out those that are null.

    Example:
        >>> _described({"class_path": "a.b.SmallCNN", "init_args": {"in_channels": 1, "pools": None}})
        'SmallCNN(in_channels=1)'
    """
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    name = str(value.get("class_path", "")).rpartition(".")[2]
    arguments = ", ".join(f"{key}={part}" for key, part in _section(value, "init_args").items() if part is not None)
    text = f"{name}({arguments})"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def _all_different(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))
