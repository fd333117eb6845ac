# SPDX-License-Identifier: Apache-2.0
"""Write and read files of small vectors, stamped so that vectors of two spaces cannot be joined unnoticed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lightning_monocon.export.artefact import check_same_space, read_tensors, write_tensors
from lightning_monocon.export.prepare import Prepared
from lightning_monocon.export.stamp import KEY, Stamp, parse_stamp


def write_vectors(prepared: Prepared, path: Path) -> None:
    """Write vectors (or codes) and labels of gallery and query: ``gallery``, ``gallery_labels``, ``query``, ...

    For float32 `monocon score` reads the file as it is.
    """
    tensors: dict[str, Tensor] = {}
    for name, rows in (("gallery", prepared.searched), ("query", prepared.query)):
        with torch.no_grad():
            tensors[name] = prepared.calibration.codes(prepared.stack(rows.features)).contiguous()
        tensors[f"{name}_labels"] = rows.labels.contiguous()
    write_tensors(path, tensors, {"format": "pt", KEY: prepared.stamp.as_json()})


def save_vectors(path: str | Path, stamp: Stamp, **tensors: Tensor) -> Path:
    """Write tensors of one space to a ``.safetensors`` file with its stamp.

    Args:
        path: The file.
        stamp: Of the model that made them, ``load(folder).stamp``.
        tensors: Vectors or codes, and whatever belongs to them, by name.
    """
    path = Path(path)
    write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()}, {KEY: stamp.as_json()})
    return path


def load_vectors(path: str | Path, expect: Stamp | str | Path | None = None) -> dict[str, Tensor]:
    """Read such a file.

    Args:
        path: The file.
        expect: The space that it must be of: a stamp, or an artefact that carries one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, has no stamp, or is of another space or version.
    """
    text, tensors = read_tensors(Path(path))
    stamp = parse_stamp(text, path)
    if expect is not None:
        check_same_space(stamp, expect)
    return tensors
