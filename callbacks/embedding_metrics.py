# SPDX-License-Identifier: Apache-2.0
"""Measure compactness, robustness and retrieval of embeddings at validation and test."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from lightning_monocon.callbacks._rows import RowsWatcher
from lightning_monocon.callbacks._watcher import OnError, harmless
from lightning_monocon.functional.checks import check_labels
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.functional.row_keys import row_keys
from lightning_monocon.inference.embed import GALLERY_AND_QUERY, has_classes
from lightning_monocon.inference.rank_rows import check_apart, over_ranks
from lightning_monocon.metrics import (
    AlphaReQ,
    EffectiveDimension,
    FeatureCorrelation,
    MeanCosine,
    NeighbourOverlap,
    NeighbourScores,
    ReconstructionError,
    RetrievalScores,
    SpectralEffectiveRank,
    TotalVariance,
)
from lightning_monocon.metrics.streaming import ROLES, Role
from lightning_monocon.training.batches import inputs_and_labels

_SPECTRAL = (
    *("effective_dimension", "feature_correlation", "constant_features"),
    *("total_variance", "mean_cosine", "rmse", "fvu"),
)
_GEOMETRY = ("effective_rank", "alpha_req")
_LABELLED = ("knn_accuracy", "recall@1", "recall@5")
_ANSWERED = ("ndcg_at_10", "mrr_at_10", "map_at_100", "recall_at_1", "recall_at_10", "recall_at_100")
_COMPARED = ("overlap_at_10", "rbo_at_10", "first_kept")
_NAMES = (*_SPECTRAL, *_GEOMETRY, *_LABELLED, *_ANSWERED, *_COMPARED)
_OUTPUT, _ENCODER = "", "encoder/"
"""Prefixes of a metric's name: for the output of the step or layer, and for the encoder's below a head."""


@runtime_checkable
class KnownAnswers(Protocol):
    """Describe a data module that knows which samples of the gallery answer which of the query."""

    def relevance(self, stage: Literal["val", "test"]) -> Relevance | None:
        """Return the answers, by the places of the samples in the data sets of the stage's two loaders, or None."""


@dataclass
class _Judges:
    """Hold the metrics of one kind of rows: of the output, or of the encoder below the head."""

    spectrum: MetricCollection
    neighbours: NeighbourScores
    retrieval: RetrievalScores | None


class EmbeddingMetrics(RowsWatcher):
    """Log the metrics of the head's output as ``<stage>/<metric>`` and the encoder's as ``<stage>/encoder/<metric>``.

    It works with any LightningModule. Its `validation_step` and `test_step` return a mapping with ``embeddings``
    ``(B, D)`` and optionally ``features``, the encoder's output; or ``layer`` names the submodule whose output in the
    step is judged, whatever the step returns. Class labels are the entry ``labels`` of the step's output, or those of
    the batch: the integers behind the inputs in a tuple or list, or under ``labels``, ``label``, ``targets``,
    ``target`` or ``y`` in a mapping.

    The first of two loaders is the gallery, the second the query; the samples of a single loader are split into both,
    half and half, by their places in the data set. Effective dimension, correlation, variance and cosine are measured
    on the gallery; reconstruction error, k-NN accuracy and recall on the query against the gallery. On several ranks
    each sample counts once, whatever the sampler repeats.

    Whoever has no classes but knows the answers gives ``relevance``, or a data module with a method
    ``relevance(stage)`` (`KnownAnswers`): then ``ndcg_at_10``, ``mrr_at_10``, ``map_at_100``, ``recall_at_1``,
    ``recall_at_10`` and ``recall_at_100`` are logged, means over the queries with a relevant row, for example
    ``val/ndcg_at_10``. With a single loader both places are those of its data set, and each sample searches all others.
    The loaders must not shuffle, since a sample is known by its place. With ``overlap``, ``overlap_at_10``,
    ``rbo_at_10`` and ``first_kept`` tell how much of what the encoder's output finds the head's output finds too
    (`NeighbourOverlap`): a change, not a quality. Names have ``_at_``, since MLflow refuses ``@``; ``recall@1`` and
    ``recall@5`` of class labels are other figures (whether *any* row of the class is found) and keep their names.
    `SentenceSimilarity` judges pairs with a graded similarity.

    A metric that cannot be computed is left out, or NaN if something monitors it: k-NN accuracy and recall without
    labels, or with a gallery of one class or fewer than ``k`` rows; those of known answers if a relevant row is not in
    the gallery, which a limited validation may lack; the overlap if the step returns no ``features``. If
    ``EarlyStopping`` monitors such a metric, it ends the run, and a warning says so first. k-NN accuracy and recall are
    never computed for a data module with ``has_classes = False`` (single sentences, for example): if each row is its
    own class, they are 0 for any embedding.

    Args:
        variance: Share of the variance that the effective dimension keeps.
        k: Number of neighbours that vote on the label.
        on_error: ``"warn"`` continues without the metrics after an error; those that were logged before, or are
            monitored, are NaN from then on, so that no such value is taken for the best. ``"raise"`` lets the error end
            the run.
        layer: Submodule whose output to judge, such as ``"backbone"``.
        name: Log as ``<stage>/<name>/<metric>``; for a second callback.
        relevance: Which samples of the gallery answer which of the query, by their places in the data sets, at
            validation and test; None asks the data module.
        overlap: Whether to compare what the head's output finds with what the encoder's finds. The rows of both are
            held, and the gallery is searched twice more. The step must return both; ``layer`` excludes it.
        geometry: Whether to log ``effective_rank`` (RankMe of the centred unit rows) and ``alpha_req`` of the gallery
            too, from which phases of the geometry are drawn.

    Raises:
        TypeError: If ``relevance`` is not a `Relevance`; with ``on_error="raise"`` also that of the data module.
        ValueError: If both ``layer`` and ``overlap`` are given. With ``on_error="raise"``, if there are more than two
            loaders, an output lacks a key, no submodule is called ``layer``, it is unknown which samples several ranks
            share, places are needed and a loader shuffles, a place lies past the end of its data set, a sample of a
            single loader is its own answer, a relevant row is not in the gallery, or an overlap lacks ``features`` or
            rows.
    """

    def __init__(
        self,
        variance: float = 0.99,
        k: int = 5,
        on_error: OnError = "warn",
        *,
        layer: str | None = None,
        name: str | None = None,
        relevance: Relevance | None = None,
        overlap: bool = False,
        geometry: bool = False,
    ) -> None:
        if overlap and layer is not None:
            raise ValueError(
                "`overlap` must be False where `layer` is given, since a layer has no encoder's output beside it; got "
                f"layer={layer!r}. Leave one of them out; for an overlap, return the two outputs from the step as "
                "`embeddings` and `features`."
            )
        if relevance is not None and not isinstance(relevance, Relevance):
            raise TypeError(
                f"`relevance` must be a Relevance(query, row, grade) of places, or None; got "
                f"{type(relevance).__name__}."
            )
        super().__init__(layer, name, on_error)
        self.variance, self.k = variance, k
        self.relevance, self.overlap, self.geometry = relevance, overlap, geometry
        self._judges: dict[str, _Judges] = {}
        self._overlap: NeighbourOverlap | None = None
        self._answers: Relevance | None = None
        self._classes = True
        self._told: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch again, and warn again about metrics that are left out."""
        super().setup(trainer, pl_module, stage)
        self._told = set()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with no rows."""
        self._start(trainer, pl_module, trainer.test_dataloaders)

    on_test_batch_start = RowsWatcher.on_validation_batch_start
    on_test_batch_end = RowsWatcher.on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, except in the sanity check, whose few batches are no measurement."""
        if not trainer.sanity_checking:
            self._log("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics of the test."""
        self._log("test", trainer, pl_module)

    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the number of loaders, and start with no rows."""
        if len(self._shares) not in (1, GALLERY_AND_QUERY):
            raise ValueError(
                f"`dataloaders` must be one, or two, the gallery and the query; got {len(self._shares)}. Return "
                "[gallery_loader, query_loader] from `val_dataloader` and `test_dataloader`."
            )
        self._judges, self._overlap = {}, None
        self._answers = self._known_answers(trainer)
        if self._answers is not None:
            _check_places(self._answers, self._samples)
        self._classes = has_classes(trainer)

    def _known_answers(self, trainer: Trainer) -> Relevance | None:
        data: object = getattr(trainer, "datamodule", None)
        if self.relevance is not None or not isinstance(data, KnownAnswers):
            return self.relevance
        stage: Literal["test", "val"] = "test" if trainer.testing else "val"
        found: object = data.relevance(stage)
        if found is not None and not isinstance(found, Relevance):
            raise TypeError(
                f"`relevance({stage!r})` of {type(data).__name__} must return a Relevance(query, row, grade) of "
                f"places, or None; got {type(found).__name__}."
            )
        return found

    def _needs_places(self, trainer: Trainer) -> bool:
        return self._known_answers(trainer) is not None

    def _take(self, pl_module: LightningModule, outputs: object, batch: object, place: tuple[int, int]) -> None:
        """Add one batch of the gallery, of the query, or of both."""
        found = {_OUTPUT: self._judged(outputs, "embeddings")}
        if self._has_features(pl_module, outputs):
            found[_ENCODER] = self._judged(outputs, "features")
        size = len(found[_OUTPUT])
        labels = self._labels(outputs, batch, size) if self._classes else None
        loader, index = place
        share = self._shares[loader]
        share.look_at(batch, index)
        places, fresh = share.numbers(index, size), share.fresh(index, size)
        roles = list(self._roles(places, fresh, loader))

        for prefix, rows in found.items():
            judges = self._metrics(prefix, pl_module)
            for role, mask in roles:
                chosen = _chosen(rows, mask)
                judges.spectrum.update(embeddings=chosen, role=role)
                if labels is not None:
                    judges.neighbours.update(chosen, _chosen(labels, mask), role)
            if judges.retrieval is not None:
                for role in ROLES if len(self._shares) == 1 else (ROLES[loader],):
                    judges.retrieval.update(_chosen(rows, fresh), _chosen(places, fresh), role)
        if self.overlap and self._is_comparable(pl_module, found):
            for role, mask in roles:
                self._compared(pl_module).update(_chosen(found[_OUTPUT], mask), _chosen(found[_ENCODER], mask), role)

    def _has_features(self, pl_module: LightningModule, outputs: object) -> bool:
        given = self.layer is None and isinstance(outputs, Mapping) and "features" in outputs
        return given and not _without_head(pl_module)

    def _is_comparable(self, pl_module: LightningModule, found: Mapping[str, Tensor]) -> bool:
        """Return whether the encoder's output is there; it is needless where the output is the encoder's own."""
        if _ENCODER not in found and not _without_head(pl_module):
            fault = (
                "`overlap` must be False unless the step returns the encoder's output as `features` beside "
                "`embeddings`. Return `features` from the step, or leave `overlap` out."
            )
            if self.on_error == "raise":
                raise ValueError(fault)
            self._tell("overlap", f"The overlap with the encoder is not logged: {fault}")
        return _ENCODER in found

    def _roles(self, places: Tensor, fresh: Tensor | None, loader: int) -> Iterator[tuple[Role, Tensor | None]]:
        """Yield gallery or query, or both, with the mask of their rows in a batch; None for all rows."""
        if len(self._shares) == GALLERY_AND_QUERY:
            yield ROLES[loader], fresh
            return
        # a hash, since labels may follow the parity of the places
        asks = row_keys(places[:, None].double()) % 2 == 1
        yield "gallery", ~asks if fresh is None else ~asks & fresh
        yield "query", asks if fresh is None else asks & fresh

    def _metrics(self, prefix: str, pl_module: LightningModule) -> _Judges:
        if prefix not in self._judges:
            # shared states: one Gram matrix for all spectral metrics, one search for accuracy and recall
            spectrum = MetricCollection(
                {
                    "effective_dimension": EffectiveDimension(self.variance, small_sample="ignore"),
                    "feature_correlation": FeatureCorrelation(small_sample="ignore"),
                    "total_variance": TotalVariance(),
                    "mean_cosine": MeanCosine(),
                    "reconstruction_error": ReconstructionError(self.variance, small_sample="ignore"),
                    **(_geometry() if self.geometry else {}),
                }
            )
            neighbours, retrieval = NeighbourScores(self.k, (1, 5)), None
            if self._answers is not None:
                retrieval = RetrievalScores(self._answers, exclude_own_id=len(self._shares) == 1).to(pl_module.device)
            self._judges[prefix] = _Judges(spectrum.to(pl_module.device), neighbours.to(pl_module.device), retrieval)
        return self._judges[prefix]

    def _compared(self, pl_module: LightningModule) -> NeighbourOverlap:
        if self._overlap is None:
            self._overlap = NeighbourOverlap().to(pl_module.device)
        return self._overlap

    def _labels(self, outputs: object, batch: object, size: int) -> Tensor | None:
        try:
            given = isinstance(outputs, Mapping) and "labels" in outputs
            labels = outputs["labels"] if given else inputs_and_labels(batch)[1]  # type: ignore[index]
            return check_labels(labels, size)
        except (TypeError, ValueError) as error:
            self._leave_out_labelled(error)
            return None

    def _leave_out_labelled(self, error: Exception) -> None:
        self._classes = False
        if self._answers is None:
            self._tell("labels", f"k-NN accuracy and recall are not logged: {error}")

    def _tell(self, kind: str, sentence: str) -> None:
        """Warn once in a run that metrics of a kind are left out."""
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(sentence, stacklevel=2)

    def _log(self, stage: str, trainer: Trainer, pl_module: LightningModule) -> None:
        prefix = f"{stage}/" if self.name is None else f"{stage}/{self.name}/"
        if self.agrees(trainer):
            self._log_metrics(prefix, pl_module)
        if self.error is not None:
            names = (f"{prefix}{kind}{name}" for kind in (_OUTPUT, _ENCODER) for name in _NAMES)
            self.log_figures(pl_module, dict.fromkeys(names, math.nan))

    @harmless
    def _log_metrics(self, prefix: str, pl_module: LightningModule) -> None:
        check_apart(self._shares)
        # a rank without a batch knows neither the outputs nor whether there are labels
        known = over_ranks((list(self._judges), self._classes))
        labelled = all(classes for _, classes in known)
        kinds = sorted({kind for kinds, _ in known for kind in kinds})
        figures: dict[str, Tensor] = {}
        for kind in kinds:
            judges = self._metrics(kind, pl_module)
            values = judges.spectrum.compute()
            if has_classes(pl_module.trainer):
                values |= _unknown(_LABELLED) | (self._scores(judges.neighbours) if labelled else {})
            if judges.retrieval is not None:
                values |= _unknown(_ANSWERED) | self._found_answers(judges.retrieval)
            if self.overlap and kind == _OUTPUT:
                values |= _unknown(_COMPARED) | (self._kept(self._compared(pl_module)) if _ENCODER in kinds else {})
            figures |= {f"{prefix}{kind}{name}": value for name, value in values.items() if name != "dimension"}
        self.log_figures(pl_module, figures)

    # a ValueError of `compute` is raised on every rank: they judge the same gathered rows

    def _scores(self, neighbours: NeighbourScores) -> dict[str, Tensor]:
        try:
            return neighbours.compute()
        except ValueError as error:  # a single class, or fewer rows than neighbours
            self._leave_out_labelled(error)
            return {}

    def _found_answers(self, retrieval: RetrievalScores) -> dict[str, Tensor]:
        try:
            return retrieval.compute()
        except ValueError as error:  # a relevant row is missing
            if self.on_error == "raise":
                raise
            warnings.warn(f"Figures of known answers are not logged: {error}", stacklevel=2)
            return {}

    def _kept(self, overlap: NeighbourOverlap) -> dict[str, Tensor]:
        try:
            return overlap.compute()
        except ValueError as error:  # fewer rows than neighbours
            if self.on_error == "raise":
                raise
            warnings.warn(f"The overlap with the encoder is not logged: {error}", stacklevel=2)
            return {}


def _without_head(pl_module: LightningModule) -> bool:
    return isinstance(getattr(pl_module, "head", None), nn.Identity)  # the same vectors twice


def _check_places(answers: Relevance, samples: list[int | None]) -> None:
    """Check that answers name samples that exist; of a single loader also that none is its own answer.

    Args:
        answers: The answers, by the places of the samples.
        samples: How many samples the gallery and the query have, or both together; None where that is unknown.

    Raises:
        ValueError: If a place lies past the end, or a sample that searches all others is to find itself.
    """
    for side, places, count in (("row", answers.row, samples[0]), ("query", answers.query, samples[-1])):
        if count is not None and len(places) and int(places.max()) >= count:
            raise ValueError(
                f"`relevance` must name places in the data sets of the loaders; its `{side}` has {int(places.max())}, "
                f"and the last of the {count} samples is at {count - 1}. Count places from 0, and return "
                "[gallery_loader, query_loader] where gallery and query are two data sets."
            )
    own = answers.row[(answers.row == answers.query) & (answers.grade > 0)]
    if len(samples) == 1 and len(own):
        raise ValueError(
            "`relevance` must not name a sample as its own answer where a single loader gives gallery and query, for "
            f"each sample searches all others; it does for {len(own)} places, such as {int(own[0])}. Leave those pairs "
            "out, or return [gallery_loader, query_loader] where gallery and query are two data sets."
        )


def _geometry() -> dict[str, Metric]:
    rank = SpectralEffectiveRank(centred=True, normalize=True, small_sample="ignore")
    return {"effective_rank": rank, "alpha_req": AlphaReQ(normalize=True, small_sample="ignore")}


def _unknown(names: tuple[str, ...]) -> dict[str, Tensor]:
    return dict.fromkeys(names, torch.tensor(math.nan))


def _chosen(rows: Tensor, mask: Tensor | None) -> Tensor:
    return rows if mask is None else rows[mask.to(rows.device)]
