# SPDX-License-Identifier: Apache-2.0
"""The files of an export that hold weights and facts: ``config.json``, ``head.safetensors``, ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lightning_monocon.export.calibration import Calibration
from lightning_monocon.export.stack import LayerSpec, rebuild, stack_tensors
from lightning_monocon.export.stamp import KEY, Stamp, parse_stamp
from lightning_monocon.export.traced import ONNX, PT2, stamp_of_onnx, stamp_of_pt2

CONFIG, HEAD, ENCODER = "config.json", "head.safetensors", "model.safetensors"


@dataclass(frozen=True, eq=False)
class Description:
    """What ``config.json`` says.

    Attributes:
        stamp: of the space.
        layers: of the chain from features to vectors.
        inputs: names of the inputs.
        encoder: the encoder as plain values; None where only its author can build it.
        calibration_rows: rows of the gallery that the codes were calibrated on.
        facts: figures for people: the projection, what was measured, how far each form is from the native model.
    """

    stamp: Stamp
    layers: list[LayerSpec]
    inputs: list[str]
    encoder: Mapping[str, Any] | None
    calibration_rows: int
    facts: Mapping[str, Any]


def write_description(description: Description, folder: Path) -> None:
    """Write ``config.json``, or add to the one that is there under one key of our own."""
    path = folder / CONFIG
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    values = {name: getattr(description, name) for name in Description.__dataclass_fields__}
    content[KEY] = {**values, "stamp": json.loads(description.stamp.as_json())}
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_description(folder: Path) -> Description:
    """Read ``config.json``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it was not written by an export, or by one of another version.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a folder that `monocon export` wrote; {folder} has no {CONFIG}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`path` must hold a whole {CONFIG}; {path} is not: {error}.") from error
    values = content.get(KEY) if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise ValueError(f"`path` must be written by `monocon export`; {path} has no stamp.")
    stamp = parse_stamp(values.get("stamp"), path)
    if missing := [name for name in Description.__dataclass_fields__ if name not in values]:
        raise ValueError(f"`path` must have a whole description; {path} lacks {', '.join(missing)}.")
    return Description(**{**{name: values[name] for name in Description.__dataclass_fields__}, "stamp": stamp})


def write_head(stack: nn.Sequential, calibration: Calibration, stamp: Stamp, folder: Path) -> None:
    """Write the chain from features to vectors, and the calibration."""
    save_file({**stack_tensors(stack), **calibration.tensors()}, folder / HEAD, _metadata(stamp))


def read_head(description: Description, folder: Path) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """Return the chain from features to vectors, and all tensors of the file."""
    _, tensors = read_tensors(folder / HEAD)
    return rebuild(description.layers, tensors), tensors


def write_encoder(encoder: nn.Module, stamp: Stamp, folder: Path) -> None:
    """Write the encoder's weights."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in encoder.state_dict().items()}
    save_file(tensors, folder / ENCODER, _metadata(stamp))


def read_tensors(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Return the stamp of a ``.safetensors`` file, as text, and its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a whole export; {path} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            return metadata.get(KEY), {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"`path` must be a whole .safetensors file; {path} is not: {error}.") from error


def stamp_weights(folder: Path, stamp: Stamp) -> None:
    """Write the stamp into every ``.safetensors`` file that another library left in a folder."""
    for path in folder.rglob("*.safetensors"):
        save_file(read_tensors(path)[1], path, _metadata(stamp))


def stamp_of(path: str | Path) -> Stamp:
    """Return the stamp of an export: of its folder, or of one of its files.

    Args:
        path: a folder, or a ``.safetensors``, ``.onnx`` or ``.pt2`` file.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it carries no stamp, or one of another version.
    """
    path = Path(path)
    if path.is_dir() or path.name == CONFIG:
        return read_description(path if path.is_dir() else path.parent).stamp
    if not path.is_file():
        raise FileNotFoundError(f"`path` must exist; there is nothing at {path}.")
    readers = {Path(ONNX).suffix: stamp_of_onnx, Path(PT2).suffix: stamp_of_pt2}
    if path.suffix in readers:
        return readers[path.suffix](path)
    if path.suffix != Path(HEAD).suffix:
        raise ValueError(f"`path` must be a folder or end in .safetensors, {', '.join(readers)}; got {path.name}.")
    return parse_stamp(read_tensors(path)[0], path)


def _metadata(stamp: Stamp) -> dict[str, str]:
    return {"format": "pt", KEY: stamp.as_json()}
