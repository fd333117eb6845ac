# SPDX-License-Identifier: Apache-2.0
"""Fit, fold and calibrate: everything about an export that does not depend on the form."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor, nn

from lightning_monocon.encoders import encoder_spec
from lightning_monocon.encoders.text import TextEncoder
from lightning_monocon.encoders.text.sentence_transformers_model import SentenceTransformersEncoder
from lightning_monocon.encoders.wrapped import unwrap_all
from lightning_monocon.export.calibration import Stored
from lightning_monocon.export.choice import Centre, Code, Kept, choose, ways
from lightning_monocon.export.gallery import Embedded, Inputs, embed_rows
from lightning_monocon.export.measure import ALL, CHOOSING, JUDGING, Judge
from lightning_monocon.export.projection import Projection
from lightning_monocon.export.stack import Exported, basis_hash, describe, fold, model_hash, projection_layer
from lightning_monocon.export.stamp import CODED, FORMAT, Stamp, chain_hash, description_hash
from lightning_monocon.export.truths import NOTHING, GradedPairs, Known, embed_pairs, sampled_relevance
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.module import MonoCon
from lightning_monocon.runs.digest import hash_tensors


@dataclass(frozen=True, eq=False)
class Prepared:
    """Hold a trained model, cut and calibrated, on the CPU in eval mode.

    Attributes:
        encoder: a frozen copy.
        head: a frozen copy, not folded: what the forms are compared with.
        stack: Folded head and projection, features to vectors.
        projection: Of the gallery.
        calibration: Of what is stored.
        gallery: What the model makes of the rows that everything is fitted on.
        searched: What it makes of the rows that the queries search; the gallery, unless others were given.
        query: What the model makes of held-out rows.
        stamp: Of the space.
        units: Which queries and pairs judge; those that chose do not.
        relevance: Known answers, by the places in the samples of ``searched`` and ``query``.
        pairs: Graded pairs.
    """

    encoder: nn.Module
    head: nn.Module
    stack: nn.Sequential
    projection: Projection
    calibration: Stored
    gallery: Embedded
    searched: Embedded
    query: Embedded
    stamp: Stamp
    units: slice
    relevance: Relevance | None = None
    pairs: GradedPairs | None = None

    @property
    def module(self) -> Exported:
        """Encoder, stack and codes as one module, for tracing."""
        return Exported(self.encoder, self.stack, self.calibration).eval()

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs; a single tensor is named ``inputs``."""
        return _input_names(self.gallery.example)

    @torch.no_grad()
    def native(self, inputs: Inputs) -> Tensor:
        """Return the trained model's own vectors, ``(N, k)`` float64: its encoder and head, the rest in float64."""
        rows = unit_rows(self.head(self.encoder(inputs)).double())
        if self.stamp.format == CODED:
            return rows
        return unit_rows((rows - self.projection.mean) @ self.projection.basis.T)


def prepare(
    model: MonoCon,
    gallery: Iterable[object],
    query: Iterable[object],
    dim: float | None = None,
    code: Code = "float32",
    sample: int = 50_000,
    searched: Iterable[object] | None = None,
    known: Known = NOTHING,
    centre: Centre | None = None,
    compatible: bool | None = None,
) -> Prepared:
    """Fit the projection or a code on the gallery, fold the head into stock layers, calibrate what is stored.

    Args:
        model: The trained module; it is left as it was.
        gallery: Batches ``(inputs, labels)``, read once.
        query: Batches of held-out rows, read once.
        dim: Share of the gallery's variance in (0, 1), or a number of dimensions; 0.99 by default.
        code: Storage type of a number, a code of a vector such as ``"transform-32"``, or a fitted codec.
        sample: Rows of the gallery that calibrate, and rows of each that judge; the projection is fitted on all.
        searched: Batches that the queries search instead of the gallery.
        known: Known answers and graded pairs.
        centre: Whether the gallery's mean is subtracted; ``"auto"`` lets every second query choose.
        compatible: Whether the numbers that search an old gallery stay as they are; by default if there are any.

    Raises:
        ValueError: If ``dim`` exceeds the gallery's rank, the head cannot be folded, or an argument does not fit.
    """
    encoder, head = _frozen(model.encoder), _frozen(model.head)
    if isinstance(encoder, TextEncoder | SentenceTransformersEncoder):
        encoder.length_groups = 1  # groups depend on the lengths, and a traced graph on nothing
    folded = fold(head)
    found, other, asked = _embedded(model, gallery, searched, query, sample, known.relevance)
    relevance = None if known.relevance is None else sampled_relevance(known.relevance, other, asked)
    pairs = None if known.pairs is None else embed_pairs(model, *known.pairs)
    answers = (relevance, pairs)
    with torch.no_grad():
        kept = ways(folded, found, dim, code, centre, old_numbers(model, compatible))
        best = choose(kept, lambda: Judge(other, asked, *answers, CHOOSING))
    stamp, units = _stamp(model, encoder, best, _input_names(found.example)), JUDGING if len(kept) > 1 else ALL
    parts = (best.stack, best.projection, best.calibration)
    return Prepared(encoder, head, *parts, found, other, asked, stamp, units, *answers)


def _stamp(model: MonoCon, encoder: nn.Module, kept: Kept, inputs: list[str]) -> Stamp:
    projection, calibration, stack = kept.projection, kept.calibration, kept.stack
    return Stamp(
        model=model_hash(encoder, stack),
        basis=basis_hash(stack),
        calibration=hash_tensors(calibration.tensors()),
        dimension=len(projection.basis),
        full_dimension=len(projection.mean),
        storage=calibration.storage,
        config={"encoder": encoder_spec(encoder), "head": dict(model.head_spec)},
        version=version("lightning-monocon"),
        normalisation=kept.normalisation,
        chain=chain_hash(describe(stack), kept.normalisation),
        description=description_hash(encoder_spec(encoder), inputs, calibration.rows),
        format=FORMAT if projection_layer(stack) is not None else CODED,
    )


def _embedded(
    model: MonoCon,
    gallery: Iterable[object],
    searched: Iterable[object] | None,
    query: Iterable[object],
    sample: int,
    relevance: Relevance | None,
) -> tuple[Embedded, Embedded, Embedded]:
    """Return gallery, searched rows and queries; known answers and their queries are sampled before all others."""
    rows = None if relevance is None else relevance.row[relevance.grade > 0]
    queries = None if relevance is None else relevance.query
    found = embed_rows(model, gallery, sample, first=rows if searched is None else None)
    other = found if searched is None else embed_rows(model, searched, sample, first=rows)
    return found, other, embed_rows(model, query, sample, first=queries)


def old_numbers(model: MonoCon, compatible: bool | None) -> int:
    """Return how many leading numbers stay as they are, because they search the gallery of an older model.

    Raises:
        ValueError: If they are asked for, and the model was not trained beside another.
    """
    if compatible and model.old is None:
        raise ValueError(
            "`compatible` must be left out for a model that was trained without `compatible_with`: it has no numbers "
            "that search an old gallery."
        )
    return 0 if model.old is None or compatible is False else model.old.dimension


def _input_names(example: Inputs) -> list[str]:
    return ["inputs"] if isinstance(example, Tensor) else list(example)


def _frozen(module: nn.Module) -> nn.Module:
    return unwrap_all(deepcopy(module)).cpu().float().eval().requires_grad_(False)
