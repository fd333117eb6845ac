# SPDX-License-Identifier: Apache-2.0
"""Write and read the weights and facts of an export: ``config.json``, ``head.safetensors``, ``model.safetensors``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lightning_monocon.export.calibration import Calibration, Stored
from lightning_monocon.export.stack import LayerSpec, rebuild, stack_tensors
from lightning_monocon.export.stamp import (
    KEY,
    OLD,
    Stamp,
    chain_hash,
    description_hash,
    differences,
    hash_values,
    parse_stamp,
)
from lightning_monocon.export.traced import ONNX, PT2, stamp_of_onnx, stamp_of_pt2
from lightning_monocon.runs.files import file_digest, whole, write_text

CONFIG, HEAD, ENCODER = "config.json", "head.safetensors", "model.safetensors"
CARD, VECTORS = "README.md", "vectors.safetensors"
_NOT_READ = (CARD, VECTORS)
_UNASKED = (".json", ".jinja", ".safetensors", ".bin", ".model", ".txt")
"""What sentence-transformers and the libraries below it read unasked where they find it in a folder."""


@dataclass(frozen=True, eq=False)
class Description:
    """Hold what ``config.json`` says.

    Attributes:
        stamp: Of the space.
        layers: Of the chain from features to vectors.
        inputs: Names of the inputs.
        encoder: The encoder as plain values; None where only its author can build it.
        calibration_rows: Rows of the gallery that the codes were calibrated on.
        facts: Figures for people: the projection, what was measured, how far each form is from the native model.
        files: Sha256 of every other file that a form reads, by its path; empty in the layout before.
    """

    stamp: Stamp
    layers: list[LayerSpec]
    inputs: list[str]
    encoder: Mapping[str, Any] | None
    calibration_rows: int
    facts: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    def hashes(self) -> dict[str, str]:
        """Return the hashes that the stamp must have of what is described here."""
        return {
            "chain": chain_hash(self.layers, self.stamp.normalisation),
            "description": description_hash(self.encoder, self.inputs, self.calibration_rows),
        }


def write_description(description: Description, folder: Path) -> None:
    """Write ``config.json``, or add to the one that is there under one key of our own."""
    path = folder / CONFIG
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    values = {name: getattr(description, name) for name in Description.__dataclass_fields__}
    content[KEY] = {**values, "stamp": json.loads(description.stamp.as_json())}
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


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
    if stamp.format == OLD:
        values = {"files": {}, **values}
    if missing := [name for name in Description.__dataclass_fields__ if name not in values]:
        raise ValueError(f"`path` must have a whole description; {path} lacks {', '.join(missing)}.")
    found = Description(**{**{name: values[name] for name in Description.__dataclass_fields__}, "stamp": stamp})
    _check_described(found, path)
    return found


def digest_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file that a form reads; of ``config.json``, of what other libraries wrote there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in _NOT_READ:
            found[name] = _digest(path)
    return found


def check_files(folder: Path, description: Description, names: Iterable[str]) -> None:
    """Raise FileNotFoundError for a missing file of an export, ValueError for one that was changed or added.

    The layout before lists no files, so that nothing is checked.
    """
    if description.stamp.format == OLD:
        return
    for name in names:
        path = folder / name
        check_listed(folder, description, name)
        if not path.is_file():
            raise FileNotFoundError(f"`path` must be a whole export; {path} is missing.")
        if (found := _digest(path)) != description.files[name]:
            raise ValueError(
                f"`path` must hold the files of one export; {path} has the sha256 {found[:8]}, the description says "
                f"{description.files[name][:8]}: copy the folder again."
            )


def check_listed(folder: Path, description: Description, *names: str) -> None:
    """Refuse files that the description does not list: their content is vouched for by nothing.

    Raises:
        ValueError: If one is not listed; in the layout before, none is.
    """
    if description.stamp.format == OLD:
        return
    if unlisted := [name for name in names if name not in description.files]:
        raise ValueError(
            f"`path` must hold the files of one export and no others; {folder / unlisted[0]} is not among the files "
            f"that {folder / CONFIG} lists: remove it if it was added, or copy the folder again."
        )


def unasked_files(folder: Path) -> set[str]:
    """Return the files in a folder of a kind that sentence-transformers might read, listed or not."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix in _UNASKED and path.is_file())
    return {path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)} - set(_NOT_READ)


def _digest(path: Path) -> str:
    if path.name == CONFIG and path.parent.joinpath(HEAD).is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        return hash_values({name: value for name, value in content.items() if name != KEY})
    return file_digest(path)


def _check_described(description: Description, path: Path) -> None:
    """Refuse a description that is not the one that was stamped."""
    stamp = description.stamp
    _check_files_listed(description.files, path)
    if stamp.format == OLD:
        warnings.warn(
            f"{path.parent} was exported by lightning-monocon {stamp.version}, whose stamp covers the weights but not "
            "the chain of layers and the other files: export it again to have them checked.",
            stacklevel=4,
        )
    elif wrong := [name for name, digest in description.hashes().items() if getattr(stamp, name) != digest]:
        raise ValueError(
            f"`path` must hold the description that was exported; the {wrong[0]} in {path} is not that of its stamp: "
            "copy the folder again."
        )


def _check_files_listed(files: object, path: Path) -> None:
    plain = isinstance(files, dict) and all(isinstance(digest, str) for digest in files.values())
    if not plain or any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):  # type: ignore[attr-defined]  # a dict
        raise ValueError(f"`path` must list hashes of files in its folder; {path} lists others: copy the folder again.")


def write_head(stack: nn.Sequential, calibration: Stored, stamp: Stamp, folder: Path) -> None:
    """Write the chain from features to vectors, and the calibration; a codec has files of its own."""
    steps = calibration.tensors() if isinstance(calibration, Calibration) else {}
    write_tensors(folder / HEAD, {**stack_tensors(stack), **steps}, _metadata(stamp))


def read_head(description: Description, folder: Path) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """Return the chain from features to vectors, and all tensors of the file."""
    _, tensors = read_tensors(folder / HEAD)
    return rebuild(description.layers, tensors), tensors


def write_encoder(encoder: nn.Module, stamp: Stamp, folder: Path) -> None:
    """Write the encoder's weights."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in encoder.state_dict().items()}
    write_tensors(folder / ENCODER, tensors, _metadata(stamp))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a ``.safetensors`` file, whole or not at all."""
    with whole(path) as file:
        save_file(tensors, file, metadata)


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
        write_tensors(path, read_tensors(path)[1], _metadata(stamp))


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


def check_same_space(first: Stamp | str | Path, second: Stamp | str | Path) -> None:
    """Refuse two artefacts whose vectors must not be compared.

    Args:
        first: a stamp, a folder of an export, or one of its files, or a file of vectors.
        second: The same.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If they differ in model, basis, calibration, dimension, storage, normalisation or version; all
            differences are named.
    """
    one, other = (each if isinstance(each, Stamp) else stamp_of(each) for each in (first, second))
    if found := differences(one, other):
        raise ValueError(
            f"`first` and `second` must be of one space; they differ in {'; '.join(found)}. Embed all rows with one "
            "export."
        )
