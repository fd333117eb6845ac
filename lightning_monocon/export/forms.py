# SPDX-License-Identifier: Apache-2.0
"""Run the forms of an export from their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lightning_monocon.export.gallery import Inputs
from lightning_monocon.export.sentence import load_sentence_transformer
from lightning_monocon.export.traced import ONNX, PT2, onnx_session, run_onnx

Run = Callable[[Inputs], tuple[Tensor, ...]]
"""What maps inputs to vectors ``(N, k)``, and to their codes where the form gives them."""


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
