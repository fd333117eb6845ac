# SPDX-License-Identifier: Apache-2.0
"""From a trained module to a folder that makes small vectors: prepare, write each form, read it back, measure."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from lightning_monocon.encoders import encoder_spec
from lightning_monocon.export.artefact import Description, stamp_weights, write_description, write_encoder, write_head
from lightning_monocon.export.card import model_card
from lightning_monocon.export.checks import differences
from lightning_monocon.export.measure import Line, Loss, loss, measure_lines
from lightning_monocon.export.prepare import Prepared, prepare
from lightning_monocon.export.sentence import is_text, write_sentence_transformer
from lightning_monocon.export.stack import describe
from lightning_monocon.export.stamp import Stamp
from lightning_monocon.export.traced import ONNX, PT2, save_onnx, save_pt2, trace
from lightning_monocon.export.vectors import write_vectors
from lightning_monocon.module import MonoCon
from lightning_monocon.scorecard.storage import Storage

Form = Literal["onnx", "pt2", "sentence-transformers"]
"""Forms beside the plain weights, which are always written."""

CARD, VECTORS = "README.md", "vectors.safetensors"


@dataclass(frozen=True, eq=False)
class Export:
    """What :func:`export_model` wrote.

    Attributes:
        folder: where.
        description: what ``config.json`` says.
        lines: accuracy and bytes before and after.
        losses: of the export against the head's whole output, and of the codes against float32.
    """

    folder: Path
    description: Description
    lines: tuple[Line, ...]
    losses: tuple[Loss, ...]

    @property
    def stamp(self) -> Stamp:
        """Of the space."""
        return self.description.stamp


def export_model(
    model: MonoCon,
    gallery: Iterable[object],
    query: Iterable[object],
    out: str | Path,
    *,
    dim: float = 0.99,
    storage: Storage = "float32",
    searched: Iterable[object] | None = None,
    forms: Sequence[Form] | None = None,
    tokenizer: str | None = None,
    max_length: int | None = None,
    vectors: bool = False,
    tolerance: float = 1e-5,
    sample: int = 50_000,
) -> Export:
    """Write a trained model that makes small vectors, in forms that need none of this package.

    Args:
        model: the trained module.
        gallery: batches ``(inputs, labels)``: the projection and the codes are fitted on these rows, in one pass.
        query: batches of held-out rows, on which the loss is measured.
        out: a folder that does not exist or is empty; it appears whole or not at all.
        dim: share of the gallery's variance to keep, in (0, 1), or a number of dimensions.
        storage: ``"float32"``, ``"int8"`` or ``"binary"``.
        searched: batches that the queries search instead of the gallery, when the loss is measured: for pairs, the
            other sides, labelled alike.
        forms: ``"onnx"``, ``"pt2"`` and, for text, ``"sentence-transformers"``; by default all that the encoder has.
        tokenizer: name or folder of the tokenizer that the sentence-transformers form takes.
        max_length: longest text in tokens that the sentence-transformers form takes.
        vectors: write the small vectors of the sampled rows as well, with their labels.
        tolerance: most that any number of any form may differ from the native model.
        sample: gallery rows to calibrate and to measure on, drawn from all; as many queries.

    Raises:
        FileExistsError: If ``out`` holds something.
        ModuleNotFoundError: If the package of a form is not installed.
        RuntimeError: If a form differs by more than ``tolerance``.
        ValueError: If ``dim`` exceeds the gallery's rank, the head cannot be folded, or a name is unknown.
    """
    out = Path(out)
    chosen = _chosen(model, storage, forms)
    _check_empty(out)
    prepared = prepare(model, gallery, query, dim, storage, sample, searched)
    with torch.no_grad():
        lines = tuple(measure_lines(prepared.searched, prepared.query, prepared.stack, prepared.calibration))
    losses = tuple(loss(lines[2], line) for line in lines[3:]) + tuple(loss(lines[3], line) for line in lines[4:])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        _write_forms(prepared, chosen, folder, tokenizer, max_length)
        description = _described(prepared, chosen, differences(prepared, chosen, folder, tolerance))
        write_description(description, folder)
        counts = len(prepared.searched.labels), len(prepared.query.labels)
        (folder / CARD).write_text(model_card(description, lines, losses, counts), encoding="utf-8")
        if vectors:
            write_vectors(prepared, folder / VECTORS)
        os.replace(folder, out)  # an empty folder gives way
    return Export(out, description, lines, losses)


def _write_forms(
    prepared: Prepared, forms: Sequence[Form], folder: Path, tokenizer: str | None, max_length: int | None
) -> None:
    if "sentence-transformers" in forms:  # first: it writes a config.json of its own
        write_sentence_transformer(prepared.encoder, prepared.stack, folder, tokenizer, max_length)
        stamp_weights(folder, prepared.stamp)
    else:
        write_encoder(prepared.encoder, prepared.stamp, folder)
    write_head(prepared.stack, prepared.calibration, prepared.stamp, folder)
    if {"onnx", "pt2"} & set(forms):
        program = trace(prepared.module, prepared.gallery.example)
        if "pt2" in forms:
            save_pt2(program, folder / PT2, prepared.stamp)
        if "onnx" in forms:
            save_onnx(program, folder / ONNX, prepared.stamp, prepared.input_names)


def _described(prepared: Prepared, forms: Sequence[Form], largest: dict[str, float]) -> Description:
    facts = {
        "forms": list(forms),
        "explained": prepared.projection.explained,
        "rank": prepared.projection.rank,
        "gallery_rows": prepared.projection.rows,
        "largest_difference": largest,
    }
    return Description(
        stamp=prepared.stamp,
        layers=describe(prepared.stack),
        inputs=prepared.input_names,
        encoder=encoder_spec(prepared.encoder),
        calibration_rows=prepared.calibration.rows,
        facts=facts,
    )


def _chosen(model: MonoCon, storage: Storage, forms: Sequence[Form] | None) -> tuple[Form, ...]:
    if storage not in get_args(Storage):
        raise ValueError(f"`storage` must be one of {', '.join(get_args(Storage))}; got {storage!r}.")
    text = is_text(model.encoder)
    chosen = tuple(form for form in get_args(Form) if text or form != "sentence-transformers")
    if forms is None:
        return chosen
    if unknown := [form for form in forms if form not in chosen]:
        raise ValueError(
            f"`forms` must be of {', '.join(chosen)} for a {type(model.encoder).__name__}; got {', '.join(unknown)}."
        )
    return tuple(form for form in chosen if form in forms)


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"`out` must be a folder that does not exist or is empty; {out} holds something.")
