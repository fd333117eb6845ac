# SPDX-License-Identifier: Apache-2.0
"""Read every form back from its file and compare it with the native model, before anyone else can load it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_monocon.export.artefact import HEAD, read_tensors
from lightning_monocon.export.gallery import Inputs
from lightning_monocon.export.prepare import Prepared
from lightning_monocon.export.sentence import load_sentence_transformer
from lightning_monocon.export.stack import describe, rebuild
from lightning_monocon.export.traced import ONNX, PT2, onnx_session, run_onnx

Run = Callable[[Inputs], tuple[Tensor, ...]]


def differences(prepared: Prepared, forms: Sequence[str], folder: Path, tolerance: float) -> dict[str, float]:
    """Return the largest difference of any number from the native model, by form, on a few rows and on one alone.

    Raises:
        RuntimeError: If a form differs by more than ``tolerance``, or its codes are not those of its vectors.
    """
    example = prepared.gallery.example
    found = {}
    for form, run in runners(prepared, forms, folder).items():
        worst = 0.0
        for inputs in (example, first_row(example)):
            vectors, *codes = run(inputs)
            worst = max(worst, float((vectors.double() - prepared.native(inputs)).abs().max()))
            if codes and not codes[0].equal(prepared.calibration.codes(vectors)):
                raise RuntimeError(f"`forms`: the codes of {form} must be those of its vectors, and are not.")
        if not worst <= tolerance:
            raise RuntimeError(
                f"{form} must not differ from the trained model by more than {tolerance:.1e}, and differs by "
                f"{worst:.1e} in a number of a vector. Leave that form out (`--forms`), or pass `--tolerance` "
                f"(`tolerance=`) {2 * worst:.0e} if that will do."
            )
        found[form] = worst
    return found


def runners(prepared: Prepared, forms: Sequence[str], folder: Path) -> dict[str, Run]:
    """Return the functions that run each form from its file, the plain weights first."""
    tensors = read_tensors(folder / HEAD)[1]
    stack = rebuild(describe(prepared.stack), tensors)
    openers: dict[str, Callable[[], Run]] = {
        "onnx": lambda: open_onnx(folder),
        "pt2": lambda: open_pt2(folder),
        "sentence-transformers": lambda: open_sentence_transformer(folder),
    }
    plain: dict[str, Run] = {"safetensors": lambda inputs: (stack(prepared.encoder(inputs)),)}
    return plain | {form: openers[form]() for form in forms}


def open_onnx(folder: Path) -> Run:
    """Return a function that runs the ONNX form."""
    session = onnx_session(folder / ONNX)
    return lambda inputs: run_onnx(session, inputs)


def open_pt2(folder: Path) -> Run:
    """Return a function that runs the ``.pt2`` form."""
    program = torch.export.load(folder / PT2).module()

    def run(inputs: Inputs) -> tuple[Tensor, ...]:
        with torch.no_grad():
            found: tuple[Tensor, ...] = program(inputs)
        return found

    return run


def open_sentence_transformer(folder: Path) -> Run:
    """Return a function that runs the sentence-transformers form on tokenised text."""
    model = load_sentence_transformer(folder)

    def run(inputs: Inputs) -> tuple[Tensor, ...]:
        if isinstance(inputs, Tensor):
            raise TypeError("`inputs` of a text model must be tensors by name; got one tensor.")
        with torch.no_grad():
            return (model(dict(inputs))["sentence_embedding"],)

    return run


def first_row(inputs: Inputs) -> Inputs:
    """Return the first row alone, because a batch of one must work too."""
    return inputs[:1] if isinstance(inputs, Tensor) else {name: tensor[:1] for name, tensor in inputs.items()}
