# SPDX-License-Identifier: Apache-2.0
"""Read every form back from its file and compare it with the native model, before anyone else can load it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from lightning_monocon.export.artefact import HEAD, read_tensors
from lightning_monocon.export.forms import Run, open_onnx, open_pt2, open_sentence_transformer
from lightning_monocon.export.gallery import Inputs
from lightning_monocon.export.prepare import Prepared
from lightning_monocon.export.stack import describe, rebuild


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


def first_row(inputs: Inputs) -> Inputs:
    """Return the first row alone, because a batch of one must work too."""
    return inputs[:1] if isinstance(inputs, Tensor) else {name: tensor[:1] for name, tensor in inputs.items()}
