# SPDX-License-Identifier: Apache-2.0
"""Export a trained module: prepare it, write each form, read it back, and measure what it costs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from lightning_monocon import codes
from lightning_monocon.codes.names import in_bytes
from lightning_monocon.encoders import encoder_spec
from lightning_monocon.encoders.wrapped import unwrapped
from lightning_monocon.export.artefact import (
    CARD,
    CONFIG,
    VECTORS,
    Description,
    digest_files,
    stamp_weights,
    write_description,
    write_encoder,
    write_head,
)
from lightning_monocon.export.calibration import Coded
from lightning_monocon.export.card import model_card
from lightning_monocon.export.certificate import Proved, prove_rounding
from lightning_monocon.export.checks import differences
from lightning_monocon.export.choice import UNCODED, Centre, Code, one_code, read_code
from lightning_monocon.export.doubts import doubts, refusal
from lightning_monocon.export.lines import Line, Loss, losses_of
from lightning_monocon.export.measure import Judge, measure_lines
from lightning_monocon.export.prepare import Prepared, prepare
from lightning_monocon.export.rounding import checked_tolerance, rounding
from lightning_monocon.export.sentence import is_text, write_sentence_transformer
from lightning_monocon.export.stack import describe
from lightning_monocon.export.stamp import Stamp
from lightning_monocon.export.traced import ONNX, PT2, save_onnx, save_pt2, trace
from lightning_monocon.export.truths import NOTHING, Known
from lightning_monocon.export.vectors import write_vectors
from lightning_monocon.functional.quantisation import Storage
from lightning_monocon.module import MonoCon
from lightning_monocon.runs.files import write_text
from lightning_monocon.runs.scratch import filled, resolved_target

Form = Literal["onnx", "pt2", "sentence-transformers"]
"""Forms beside the plain weights, which are always written."""


class DoubtfulExportWarning(UserWarning):
    """Warn that a model was exported although its vectors are hardly worth it."""


@dataclass(frozen=True, eq=False, repr=False)
class Export:
    """Hold what `export_model` wrote.

    Attributes:
        folder: Where.
        description: What ``config.json`` says.
        lines: Accuracy and bytes before and after.
        losses: Of the export against the encoder by each truth, then of the cut and of the codes.
        doubts: What speaks against shipping it; the card has it at the top.
        proved: For how many queries rounding the encoder's features provably changes nothing; None for codes.
    """

    folder: Path
    description: Description
    lines: tuple[Line, ...]
    losses: tuple[Loss, ...]
    doubts: tuple[str, ...] = ()
    proved: Proved | None = None

    def __repr__(self) -> str:
        """Say where it is and what its vectors are."""
        stamp = self.stamp
        return f"Export({str(self.folder)!r}, space={stamp.space!r}, {self.size} a vector)"

    @property
    def size(self) -> str:
        """Bytes of a stored vector, with their unit."""
        return in_bytes(self.lines[-1].bytes)

    @property
    def stamp(self) -> Stamp:
        """Stamp of the space."""
        return self.description.stamp


def export_model(
    model: MonoCon,
    gallery: Iterable[object],
    query: Iterable[object],
    out: str | Path,
    *,
    dim: float | None = None,
    code: Code = UNCODED,
    searched: Iterable[object] | None = None,
    forms: Sequence[Form] | None = None,
    tokenizer: str | None = None,
    max_length: int | None = None,
    vectors: bool = False,
    tolerance: float | None = None,
    sample: int = 50_000,
    even_so: bool = False,
    known: Known = NOTHING,
    centre: Centre | None = None,
    dtype: Storage | None = None,
    compatible: bool | None = None,
) -> Export:
    """Write a trained model that makes small vectors, in forms that need none of this package.

    Args:
        model: The trained module.
        gallery: Batches ``(inputs, labels)``, on which the projection or the code is fitted in one pass.
        query: Batches of held-out rows, on which the loss is measured.
        out: A new or empty folder, which appears whole or not at all; into an empty one ``config.json`` moves last.
        dim: Share of the gallery's variance to keep, in (0, 1), or a number of dimensions; 0.99, unless for a code.
        code: ``"float32"``, ``"int8"``, ``"binary"``, a code such as ``"transform-32"``, a fitted codec or its folder.
        searched: Batches to search instead of the gallery when the loss is measured: for pairs, the other sides.
        forms: ``"onnx"``, ``"pt2"`` and, for text, ``"sentence-transformers"``; by default all that the encoder has.
        tokenizer: Name or folder of the tokenizer that the sentence-transformers form takes.
        max_length: Longest text in tokens that the sentence-transformers form takes.
        vectors: Write the small vectors of the sampled rows as well, with their labels.
        tolerance: Largest difference allowed from the native model; by default what the rounding of float32 explains.
        sample: Gallery rows to calibrate and to measure on, drawn from all; as many queries.
        even_so: Export a model that has collapsed or finds less than half, with a warning.
        known: Known answers and graded pairs, by which the loss is measured as well.
        centre: Whether the mean is subtracted, by default not before codes; of ``"auto"`` every second query chooses.
        dtype: The former name of ``code``.
        compatible: Whether numbers that search an old gallery (``compatible_with``) stay as they are; the default.

    Raises:
        ImportError, OSError, RuntimeError, ValueError: If a package is missing or ``out``, a form or argument is wrong.
    """
    code, chosen = read_code(one_code(code, dtype), dim, _width(model)), _chosen(model, forms)
    with filled("out", resolved_target("out", out), last=CONFIG) as folder:
        prepared = prepare(model, gallery, query, dim, code, sample, searched, known, centre, compatible)
        return _written(prepared, chosen, folder, Path(out), tokenizer, max_length, vectors, tolerance, even_so)


def _written(
    prepared: Prepared,
    chosen: Sequence[Form],
    folder: Path,
    out: Path,
    tokenizer: str | None,
    max_length: int | None,
    vectors: bool,
    tolerance: float | None,
    even_so: bool,
) -> Export:
    """Measure, write every file to ``folder``, and return what will be at ``out``."""
    allowed = checked_tolerance(rounding(prepared), tolerance)
    judge = Judge(prepared.searched, prepared.query, prepared.relevance, prepared.pairs, prepared.units)
    with torch.no_grad():
        lines = tuple(measure_lines(judge, prepared.stack, prepared.calibration))
    found = _doubts(judge, lines, even_so)

    _write_forms(prepared, chosen, folder, tokenizer, max_length)
    description = _described(prepared, chosen, differences(prepared, chosen, folder, allowed), folder)
    write_description(description, folder)

    losses = losses_of(lines)
    counts = len(prepared.searched.labels), len(prepared.query.labels[prepared.units])
    proved = prove_rounding(prepared)
    write_text(folder / CARD, model_card(description, lines, losses, counts, found, proved))
    if vectors:
        write_vectors(prepared, folder / VECTORS)
    return Export(out, description, lines, losses, found, proved)


def _doubts(judge: Judge, lines: Sequence[Line], even_so: bool) -> tuple[str, ...]:
    found = doubts(judge, lines)
    if any(doubt.refused for doubt in found) and not even_so:
        raise ValueError(refusal(found))
    sentences = tuple(doubt.sentence for doubt in found)
    if sentences:
        warnings.warn(" ".join(sentences), DoubtfulExportWarning, stacklevel=4)  # the caller of `export_model`
    return sentences


def _write_forms(
    prepared: Prepared, forms: Sequence[Form], folder: Path, tokenizer: str | None, max_length: int | None
) -> None:
    if "sentence-transformers" in forms:  # first: it writes a config.json of its own
        write_sentence_transformer(prepared.encoder, prepared.stack, folder, folder.parent, tokenizer, max_length)
        stamp_weights(folder, prepared.stamp)
    else:
        write_encoder(prepared.encoder, prepared.stamp, folder)
    write_head(prepared.stack, prepared.calibration, prepared.stamp, folder)
    if isinstance(prepared.calibration, Coded):
        codes.save(prepared.calibration.codec, folder)
    if {"onnx", "pt2"} & set(forms):
        program = trace(prepared.module, prepared.gallery.example)
        if "pt2" in forms:
            save_pt2(program, folder / PT2, prepared.stamp)
        if "onnx" in forms:
            save_onnx(program, folder / ONNX, prepared.stamp, prepared.input_names)


def _described(prepared: Prepared, forms: Sequence[Form], largest: dict[str, float], folder: Path) -> Description:
    facts = {
        "forms": list(forms),
        "explained": prepared.projection.explained,
        "old_numbers": prepared.projection.old,
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
        files=digest_files(folder),
    )


def _width(model: MonoCon) -> int | None:
    """Return the numbers of the head's output, if the model knows them."""
    found = model.head_spec.get("out_features")
    return found if isinstance(found, int) else None


def _chosen(model: MonoCon, forms: Sequence[Form] | None) -> tuple[Form, ...]:
    text = is_text(unwrapped(model.encoder))
    chosen = tuple(form for form in get_args(Form) if text or form != "sentence-transformers")
    if forms is None:
        return chosen
    if unknown := [form for form in forms if form not in chosen]:
        raise ValueError(
            f"`forms` must be of {', '.join(chosen)} for a {type(model.encoder).__name__}; got {', '.join(unknown)}."
        )
    return tuple(form for form in chosen if form in forms)
