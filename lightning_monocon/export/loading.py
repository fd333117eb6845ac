# SPDX-License-Identifier: Apache-2.0
"""Load an export, in any of its forms, and refuse what does not belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from lightning_monocon import codes
from lightning_monocon.encoders import build_encoder
from lightning_monocon.encoders.wrapped import named_as
from lightning_monocon.export.artefact import (
    CONFIG,
    ENCODER,
    HEAD,
    Description,
    check_files,
    check_listed,
    check_same_space,
    read_description,
    read_head,
    read_tensors,
    stamp_of,
    unasked_files,
)
from lightning_monocon.export.calibration import Calibration, Coded, Stored
from lightning_monocon.export.forms import Run, open_onnx, open_pt2, open_sentence_transformer
from lightning_monocon.export.gallery import Inputs
from lightning_monocon.export.sentence import check_stock
from lightning_monocon.export.stack import VectorModule, basis_hash, model_hash
from lightning_monocon.export.stamp import CODED, KEY, Stamp
from lightning_monocon.export.traced import ONNX, PT2
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.named_argument import named
from lightning_monocon.functional.quantisation import Storage
from lightning_monocon.runs.digest import hash_tensors

LoadedForm = Literal["safetensors", "onnx", "pt2", "sentence-transformers"]


@dataclass(frozen=True, eq=False)
class Embedder:
    """Embed inputs with a loaded export.

    Attributes:
        stamp: Of the space.
        head: Folded head and projection, the encoder's output ``(N, F)`` to vectors ``(N, k)``.
        calibration: Vectors to codes.
        form: What runs.
    """

    stamp: Stamp
    head: nn.Sequential = field(repr=False)
    calibration: Stored
    form: LoadedForm
    _run: Run = field(repr=False)

    @property
    def module(self) -> VectorModule | None:
        """Encoder and head as one frozen module, inputs to vectors; None without an encoder, or in another form."""
        return self._run.module if isinstance(self._run, _Native) else None

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the vectors ``(N, k)``, float32, unit length."""
        return self._run(inputs)[0]

    def encode(self, inputs: Inputs) -> Tensor:
        """Return what is stored of the inputs, ``(N, bytes)`` uint8 of a code or of bits, else ``(N, k)``."""
        return self.calibration.codes(self(inputs))


def load(
    path: str | Path,
    form: LoadedForm = "safetensors",
    *,
    expect: Stamp | str | Path | None = None,
    encoder: nn.Module | None = None,
) -> Embedder:
    """Load the folder that `lightning_monocon.export.export_model` wrote.

    Args:
        path: The folder.
        form: Which of its forms runs. ``"safetensors"`` is plain weights and nothing else. A ``.pt2`` file is a
            program: load one only from people whose code you would run.
        expect: The space that it must be of: a stamp, or an artefact that carries one.
        encoder: The encoder's architecture, for the form ``"safetensors"``, where it is not one of this package.
            Without it the stamp, the head and the calibration are available, and only a call raises.

    Raises:
        FileNotFoundError: If the folder or the form's file is missing.
        ModuleNotFoundError: If the form's package is not installed.
        ValueError: If a file is of another export, another version or damaged, the space is not the expected one, or
            the encoder does not fit or is described by more than plain values.
    """
    check_choice("form", form, get_args(LoadedForm))
    folder = Path(path)
    description = read_description(folder)
    if expect is not None:
        check_same_space(description.stamp, expect)
    _check_one_export(description.stamp, folder / HEAD)
    check_listed(folder, description, HEAD)
    stack, tensors = read_head(description, folder)
    stamp = description.stamp
    calibration = _calibration(folder, description, tensors)
    _check_hashes(folder, stamp, basis=basis_hash(stack), calibration=hash_tensors(calibration.tensors()))
    return Embedder(stamp, stack, calibration, form, _opened(form, folder, description, stack, encoder))


def _opened(
    form: LoadedForm, folder: Path, description: Description, stack: nn.Sequential, encoder: nn.Module | None
) -> Run:
    files: dict[LoadedForm, tuple[str, Callable[[Path], Run]]] = {"onnx": (ONNX, open_onnx), "pt2": (PT2, open_pt2)}
    if form in files:
        name, opener = files[form]
        if not (folder / name).is_file():
            raise FileNotFoundError(f"`form` {form!r} must have been exported; {folder} has no {name}.")
        _check_one_export(description.stamp, folder / name)
        there = (path.name for path in (folder / name, folder / f"{name}.data") if path.is_file())
        check_files(folder, description, {*there, *(file for file in description.files if file.startswith(name))})
        return opener(folder)
    if form == "sentence-transformers":
        others = (ONNX, PT2, HEAD)
        names = sorted(unasked_files(folder).union(description.files))
        check_files(folder, description, (name for name in names if not name.startswith(others)))
        check_stock(folder, KEY)
        return open_sentence_transformer(folder)
    if encoder is None and description.encoder is None:
        return _without_encoder
    check_listed(folder, description, ENCODER)
    built = _encoder(folder, description, encoder)
    _check_hashes(folder, description.stamp, model=model_hash(built, stack))
    return _Native(VectorModule(built, stack, description.stamp.dimension))


@dataclass(frozen=True, eq=False)
class _Native:
    """Run the module that was rebuilt from plain weights."""

    module: VectorModule

    def __call__(self, inputs: Inputs) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (self.module(inputs),)


def _without_encoder(inputs: Inputs) -> tuple[Tensor, ...]:
    raise ValueError(
        "`encoder` must be given: the export was made with an encoder of your own, which only you can build. Load it "
        "with `encoder=<the same architecture>`, or load the form 'onnx' or 'pt2'."
    )


def _encoder(folder: Path, description: Description, encoder: nn.Module | None) -> nn.Module:
    built = encoder if encoder is not None else build_encoder(description.encoder or {})
    weights = named_as(_named_alike(built, read_tensors(folder / ENCODER)[1]), built.state_dict())
    try:
        built.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"`encoder` must fit the weights in {folder / ENCODER}; it does not: {error}") from error
    return built.eval().requires_grad_(False)


def _named_alike(encoder: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the encoder's names; a sentence-transformers folder has those of the model inside it."""
    names = encoder.state_dict().keys()
    prefixes = {name[: -len(key)] for key in tensors for name in names if name.endswith("." + key)}
    for prefix in ("", *sorted(prefixes)):
        if {prefix + key for key in tensors} <= set(names):
            return {prefix + key: tensor for key, tensor in tensors.items()}
    return tensors


def _calibration(folder: Path, description: Description, tensors: dict[str, Tensor]) -> Stored:
    stamp = description.stamp
    if stamp.format == CODED:
        check_files(folder, description, codes.FILES)
        with named("path", "folder"):
            return Coded(codes.load(folder), description.calibration_rows)
    step = tensors.get("calibration.step", torch.ones(stamp.dimension))
    if stamp.storage == "int8" and "calibration.step" not in tensors:
        raise ValueError(f"`path` must hold the calibration of int8; {HEAD} lacks calibration.step.")
    return Calibration(cast("Storage", stamp.storage), step, description.calibration_rows)


def _check_hashes(folder: Path, stamp: Stamp, **found: str) -> None:
    for name, digest in found.items():
        expected = getattr(stamp, name)
        if digest != expected:
            raise ValueError(
                f"`path` must hold the files of one export; the {name} in {folder} has the hash {digest[:8]}, the "
                f"stamp says {expected[:8]}: copy the folder again."
            )


def _check_one_export(stamp: Stamp, path: Path) -> None:
    """Refuse a file of another space, or of another export of the same space."""
    found = stamp_of(path)
    check_same_space(stamp, found)
    if found.format != stamp.format:
        raise ValueError(
            f"`path` must hold the files of one export; {path} has the layout {found.format!r}, {CONFIG} has "
            f"{stamp.format!r}: copy the folder again."
        )
    if found.description != stamp.description:
        raise ValueError(
            f"`path` must hold the files of one export; {path} describes another encoder or other inputs than "
            f"{CONFIG}: copy the folder again."
        )
