# SPDX-License-Identifier: Apache-2.0
"""Write a fitted codec into a folder, and read it again.

``codec.json`` holds plain values: the layout, the stamp, and what `Codec.description` says. ``codec.safetensors`` holds
the tables. The stamp is the SHA-256 of both, so altered or mixed files are refused. Reading runs no code of the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.half import HalfQuantiser
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.product import ProductQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.runs.files import whole, write_text

LAYOUT = 1
"""Layout that this version writes, the only one so far."""

FILES = _VALUES, _TABLES = "codec.json", "codec.safetensors"
"""Files of a codec in its folder."""


def save(codec: Codec, folder: str | Path) -> None:
    """Write ``codec.safetensors`` and, last, ``codec.json`` into an existing folder."""
    folder = Path(folder)
    tables = {name: table.cpu().contiguous() for name, table in codec.tensors().items()}
    values = {"layout": LAYOUT, "bytes_per_vector": codec.bytes_per_vector, **codec.description()}
    with whole(folder / _TABLES) as file:
        save_file(tables, file)
    write_text(folder / _VALUES, json.dumps({**values, "stamp": _stamp(values, tables)}, indent=1) + "\n")


def load(folder: str | Path) -> Codec:
    """Read the codec of a folder that `save` or ``monocon shrink`` wrote.

    Raises:
        FileNotFoundError: If the folder has no ``codec.json`` or no ``codec.safetensors``.
        ValueError: If a file is damaged or altered, or a later version wrote it.
    """
    folder = Path(folder)
    for name in (_VALUES, _TABLES):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"`folder` must hold {_VALUES} and {_TABLES}, as `monocon shrink --out` writes them; {folder} has no "
                f"{name}."
            )
    try:
        values = json.loads((folder / _VALUES).read_text("utf-8"))
        tables = load_file(folder / _TABLES)
        stamp, layout = values.pop("stamp"), values["layout"]
    except (ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        raise ValueError(f"`folder` must hold a whole codec; that of {folder} is damaged: write it again.") from error
    if layout != LAYOUT:
        raise ValueError(
            f"`folder` must hold a codec of layout {LAYOUT}; {folder} has layout {layout}. Install a newer version."
        )
    if stamp != _stamp(values, tables):
        raise ValueError(
            f"`folder` must hold the files of one codec as they were written; the stamp of {folder} does not fit them: "
            "write it again."
        )
    space = Space(tables["space.mean"], tables["space.matrix"], **values["space"])
    own = {name.removeprefix("quantiser."): table for name, table in tables.items() if name.startswith("quantiser.")}
    quantiser = _KINDS[values["quantiser"]["kind"]](values["quantiser"], own)
    return Codec(values["name"], values["family"], space, quantiser)


def _stamp(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name in sorted(tables):
        digest.update(f"{name} {tables[name].dtype} {tuple(tables[name].shape)}".encode())
        digest.update(tables[name].numpy().tobytes())
    return digest.hexdigest()


def _levels(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    return LevelQuantiser(tables["bits"], tables["levels"])


def _half(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    return HalfQuantiser(values["width"])


def _product(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    groups = range(values["groups"])
    centroids, points = ([tables[f"{name}.{g}"] for g in groups] for name in ("centroids", "points"))
    return ProductQuantiser(tables["weights"], centroids, points, values["beam"])


_KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor]], Quantiser]] = {
    LevelQuantiser.kind: _levels,
    HalfQuantiser.kind: _half,
    ProductQuantiser.kind: _product,
}
