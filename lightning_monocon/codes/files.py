# SPDX-License-Identifier: Apache-2.0
"""Write a fitted codec into a folder, and read it again.

``codec.json`` holds plain values: the layout, the stamp, and what `Codec.description` says. ``codec.safetensors`` holds
the tables. The stamp is the SHA-256 of both, so altered or mixed files are refused. Reading runs no code of the files.

For programs without this package there are ``codec_numpy.py``, which needs NumPy alone, and ``codec.onnx``, the way
from rows to codes. ``docs/codes.md`` specifies all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tables
from safetensors.torch import save_file
from torch import Tensor

from lightning_monocon.codes.additive import AdditiveQuantiser
from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.half import HalfQuantiser
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.names import current_name
from lightning_monocon.codes.onnx_encoder import ONNX, write_onnx
from lightning_monocon.codes.product import ProductQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.rabit import RabitQuantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.functional.checks import all_finite
from lightning_monocon.runs.files import remove, whole, write_text

LAYOUT = 1
"""Layout that this version writes, the only one so far."""

FILES = _VALUES, _TABLES, _NUMPY = "codec.json", "codec.safetensors", "codec_numpy.py"
"""Files of a codec in its folder."""

_NO_STAMP = "0" * 64


def save(codec: Codec, folder: str | Path, *, overwrite: bool = False) -> str:
    """Write a codec into an existing folder: ``codec.safetensors``, ``codec_numpy.py`` and, last, ``codec.json``.

    With the package onnx there is ``codec.onnx`` too, but not for additive codes; that of an earlier codec is removed.

    Args:
        codec: The codec.
        folder: The folder.
        overwrite: Whether another codec in the folder may be replaced, after which codes of it cannot be read any more.

    Returns:
        Its stamp.

    Raises:
        FileExistsError: If the folder holds another codec and ``overwrite`` is not set.
    """
    if not isinstance(codec, Codec):
        raise TypeError(
            f"`codec` must be a Codec, as `load` and the functions of `codes.families` return it; got "
            f"{type(codec).__name__}."
        )
    folder = Path(folder)
    # safetensors refuses tables that share memory, as the points of a code may with its centroids
    tables = {name: table.cpu().contiguous().clone() for name, table in codec.tensors().items()}
    values = {"layout": LAYOUT, "bytes_per_vector": codec.bytes_per_vector, **codec.description(), "stamp": _NO_STAMP}
    text = json.dumps(values, indent=1) + "\n"
    with whole(folder / _TABLES) as file:
        save_file(tables, file)
        stamp = _stamp(text, file.read_bytes())
        if not overwrite:
            _check_no_other(folder, stamp)
    write_text(folder / _NUMPY, Path(__file__).with_name(_NUMPY).read_text("utf-8"))
    remove(folder / ONNX)
    write_onnx(codec.to("cpu"), folder / ONNX, stamp)
    write_text(folder / _VALUES, text.replace(_NO_STAMP, stamp))
    return stamp


def _check_no_other(folder: Path, stamp: str) -> None:
    """Raise FileExistsError if a folder holds another codec; the block of `whole` then leaves its tables there."""
    path = folder / _VALUES
    if not path.is_file():
        return
    try:
        values = json.loads(path.read_text("utf-8"))
        name, held = str(values["name"]), values["stamp"]
    except (ValueError, KeyError, TypeError):
        return  # no codes can be read by a damaged one
    if held != stamp:
        raise FileExistsError(
            f"`folder` must not hold another codec, whose codes could not be read any more; {folder} holds {name}. "
            "Choose another folder, or pass overwrite=True."
        )


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
        text, data = (folder / _VALUES).read_bytes().decode(), (folder / _TABLES).read_bytes()
        values, tables = json.loads(text), load_tables(data)
        stamp, layout = values["stamp"], values["layout"]
    except (ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        raise ValueError(f"`folder` must hold a whole codec; that of {folder} is damaged: write it again.") from error
    if layout != LAYOUT:
        raise ValueError(
            f"`folder` must hold a codec of layout {LAYOUT}; {folder} has layout {layout}. Install a newer version."
        )
    if stamp != _stamp(text.replace(str(stamp), _NO_STAMP), data):
        raise ValueError(
            f"`folder` must hold the files of one codec as they were written; the stamp of {folder} does not fit them: "
            "write it again."
        )
    try:
        codec = _codec(values, tables)
    except KeyError as error:
        raise _unfit(folder, f"{error.args[0]} is missing") from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise _unfit(folder, str(error)) from error
    if values.get("bytes_per_vector") != codec.bytes_per_vector:
        found = values.get("bytes_per_vector")
        raise _unfit(folder, f"bytes_per_vector is {found!r}, and its tables make {codec.bytes_per_vector} bytes")
    return codec


def _codec(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Codec:
    kind = values["quantiser"]["kind"]
    if kind not in _KINDS:
        raise ValueError(
            f"its quantiser must be of a known kind ({', '.join(_KINDS)}); got {kind!r}: install a newer version"
        )
    for key in ("name", "family"):
        if not isinstance(values[key], str) or not values[key]:
            raise ValueError(f"its {key} must be a text; got {values[key]!r}")
    _check_tables(tables)
    described = {key: values["space"][key] for key in ("similarity", "scoring")}
    space = Space(tables["space.mean"], tables["space.matrix"], **described, stored_offset=tables["space.offset"])
    own = {name.removeprefix("quantiser."): table for name, table in tables.items() if name.startswith("quantiser.")}
    return Codec(_named(values["name"], space), values["family"], space, _KINDS[kind](values["quantiser"], own))


def _check_tables(tables: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the tables of a space do not fit one another, or one holds NaN or infinity."""
    matrix, mean, offset = (tables[f"space.{name}"] for name in ("matrix", "mean", "offset"))
    if matrix.ndim != 2 or mean.shape != matrix.shape[1:] or offset.shape != matrix.shape[:1]:
        shapes = f"{tuple(mean.shape)}, {tuple(matrix.shape)} and {tuple(offset.shape)}"
        raise ValueError(f"its mean, matrix and offset must be (D,), (k, D) and (k,); got {shapes}")
    for name, table in tables.items():
        if table.is_floating_point() and not all_finite(table):
            raise ValueError(f"its table {name} must be finite")


def _unfit(folder: Path, reason: str) -> ValueError:
    return ValueError(f"`folder` must hold a codec as `save` writes it; {folder} does not: {reason}.")


def _count(values: Mapping[str, Any], name: str) -> int:
    """Return a number that must be an integer from 1 on."""
    found = values[name]
    if type(found) is not int or found < 1:
        raise ValueError(f"its {name} must be an integer from 1 on; got {found!r}")
    return found


def _named(name: str, space: Space) -> str:
    """Return the name of a codec, which an earlier version may have written with its former one."""
    if name.startswith("half-") and space.mean.any():
        return f"float16-{name.removeprefix('half-')}"  # centred, which "half" no longer says
    return current_name(name)


def _stamp(text: str, tables: bytes) -> str:
    """Return the SHA-256 of both files: of ``codec.json`` with zeros for the digits of the stamp."""
    return hashlib.sha256(tables + text.encode()).hexdigest()


def _levels(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    return LevelQuantiser(tables["bits"], tables["levels"])


def _half(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    return HalfQuantiser(_count(values, "width"))


def _product(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    groups = range(_count(values, "groups"))
    if len(groups) != (there := sum(name.startswith("centroids.") for name in tables)):
        raise ValueError(f"its groups must be the {there} of its tables; got {len(groups)}")
    centroids, points = ([tables[f"{name}.{g}"] for g in groups] for name in ("centroids", "points"))
    return ProductQuantiser(tables["weights"], centroids, points, _count(values, "beam"))


def _additive(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    return AdditiveQuantiser(tables["centroids"], _count(values, "beam"))


def _rabit(values: Mapping[str, Any], tables: Mapping[str, Tensor]) -> Quantiser:
    return RabitQuantiser(_count(values, "width"), _count(values, "bits"))


_KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor]], Quantiser]] = {
    LevelQuantiser.kind: _levels,
    HalfQuantiser.kind: _half,
    ProductQuantiser.kind: _product,
    AdditiveQuantiser.kind: _additive,
    RabitQuantiser.kind: _rabit,
}
