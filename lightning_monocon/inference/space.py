# SPDX-License-Identifier: Apache-2.0
"""Describe what all shards of a corpus have in common, so that embeddings of two models are never mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from lightning_monocon.runs.arguments import WRITER, Settings

FORMAT = "lightning-monocon/shards/2"
"""Layout and version of the folder, kept in ``space.json``."""

READABLE = ("lightning-monocon/shards/1", FORMAT)
"""Layouts that can be read; the first knows less of what decided its values."""

Kind: TypeAlias = Literal["safetensors", "parquet"]

_LISTED = 4
_WRITER = tuple(f"settings.{name}" for name in WRITER)


@dataclass(frozen=True)
class Space:
    """Describe what all shards of a folder have in common.

    Attributes:
        model: Digest of the weights; see `model_stamp`.
        ranks: Number of processes that write.
        kind: File format of the shards.
        rows: Rows of a full shard.
        format: Layout of the folder.
        settings: The other settings that decide the values: the precision and the plain arguments of the model.
        data: Digest of the rows of each part, as the model gets them; see `lightning_monocon.inference.batch_stamp`.
    """

    model: str
    ranks: int
    kind: Kind
    rows: int
    format: str = FORMAT
    settings: Settings = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)


def space_differences(stored: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """Return a phrase for each value that differs between two ``space.json``; of many, the first ones."""
    one, other = _by_name(stored), _by_name(present)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if "settings" in stored and any(one.get(name) != other.get(name) for name in _WRITER):
        shared = one.keys() & other.keys() - set(_WRITER)  # another version may know other settings
        names = [name for name in names if not name.startswith("settings.") or name in shared]
    return _phrases(one, other, names)


def model_differences(one: Space, other: Space) -> list[str]:
    """Return a phrase for each value that makes ``one`` the space of another model than ``other``; the first ones."""
    given, wanted = ({"model": each.model, **_of_model(each.settings)} for each in (one, other))
    return _phrases(given, wanted, [name for name in given if name in wanted and given[name] != wanted[name]])


def _phrases(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    found = [f"{name} {one.get(name)!r}, not {other.get(name)!r}" for name in names[:_LISTED]]
    return found if len(names) <= _LISTED else [*found, f"and {len(names) - _LISTED} more"]


def _of_model(settings: Settings) -> Settings:
    """Return the arguments of the model's parts but the loss, which decides no vector."""
    return {
        name: value
        for name, value in settings.items()
        if name.startswith("model.") and not name.startswith("model.loss")
    }


def _by_name(space: dict[str, Any]) -> dict[str, Any]:
    nested = {name: value for name, value in space.items() if isinstance(value, dict)}
    inner = {f"{name}.{key}": part for name, value in nested.items() for key, part in value.items()}
    return {**{name: value for name, value in space.items() if name not in nested}, **inner}
