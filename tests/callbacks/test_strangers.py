# SPDX-License-Identifier: Apache-2.0
"""Watch modules that know nothing of this package: by layer, with the labels of their batches and one loader."""

from __future__ import annotations

import re
import warnings
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_monocon.callbacks import CollapseGuard, EmbeddingMetrics
from lightning_monocon.functional.row_keys import row_keys
from lightning_monocon.metrics import EffectiveDimension

CLASSES, SIDE = 5, 4
SPECTRAL = {"effective_dimension", "feature_correlation", "constant_features", "total_variance", "mean_cosine"}
LABELLED = {"knn_accuracy", "recall@1", "recall@5"}
EVERY = SPECTRAL | {"rmse", "fvu"} | LABELLED


def images(size: int, seed: int = 0, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Return images whose class is where they are bright; neighbours in the data have different classes."""
    labels = torch.arange(size) % classes
    noise = torch.randn(size, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return noise + 3 * torch.eye(SIDE * SIDE)[labels].reshape(size, 1, SIDE, SIDE), labels


class Samples(Dataset[Any]):
    """Samples in one of the forms that data sets have."""

    def __init__(self, size: int, form: str = "tuple", **options: Any) -> None:
        self.images, self.labels = images(size, **options)
        self.form = form

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index], self.labels[index]
        return {
            "tuple": (image, label),
            "named": (image, label, f"{index}.png"),  # as the data sets of lightly
            "masked": (image, torch.ones(SIDE), label),
            "dict": {"image": image, "target": label},
            "scored": (image, label.double()),
            "alone": image,
        }[self.form]


def loader(size: int = 60, form: str = "tuple", batch: int = 16, **options: Any) -> DataLoader[Any]:
    return DataLoader(Samples(size, form, **options), batch_size=batch)


class Finetuner(L.LightningModule):
    """A classifier on a backbone, whose `validation_step` returns its loss and takes one loader, as many do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.tokens = nn.Flatten(2)
        self.unused = nn.Linear(2, 2)
        self.classification_head = nn.Linear(8, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        self.tokens(inputs)
        return self.classification_head(self.model(inputs).flatten(1))

    def step(self, batch: Any) -> Tensor:
        if isinstance(batch, dict):
            return nn.functional.cross_entropy(self(batch["image"]), batch["target"])
        inputs = batch if isinstance(batch, Tensor) else batch[0]
        return self(inputs).square().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.step(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-2)


class TwoLoaders(Finetuner):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:  # type: ignore[override]
        return self.step(batch)

    test_step = validation_step


SILENT = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
QUIET: dict[str, Any] = {"accelerator": "cpu", **dict.fromkeys(SILENT, False)}


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    return L.Trainer(callbacks=list(callbacks), **QUIET, **options)


def watched(loaders: Any, module: L.LightningModule | None = None, **options: Any) -> dict[str, float]:
    run = trainer(EmbeddingMetrics(on_error="raise", **{"layer": "model", **options}))
    run.validate(module or Finetuner(), loaders, verbose=False)
    return {name: value.item() for name, value in run.callback_metrics.items()}


def backbone_rows(inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        rows: Tensor = Finetuner().model(inputs).flatten(1)
    return rows


@pytest.mark.parametrize("form", ["tuple", "named", "masked", "dict"])
def test_a_layer_is_judged_with_the_labels_of_the_batch(form: str) -> None:
    found = watched([loader(60, form), loader(30, form, seed=1)], TwoLoaders())
    gallery, query = (backbone_rows(images(*part)[0]) for part in ((60, 0), (30, 1)))
    votes = KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(gallery, images(60)[1])
    assert found["val/knn_accuracy"] == pytest.approx(votes.score(query, images(30)[1]), abs=1e-6)
    dimension = EffectiveDimension(small_sample="ignore")
    dimension.update(gallery)
    assert found["val/effective_dimension"] == dimension.compute()
    assert set(found) == {f"val/{name}" for name in EVERY}


@pytest.mark.parametrize("batch", [1, 7, 60], ids=lambda batch: f"batch={batch}")
def test_one_loader_is_dealt_to_gallery_and_query(batch: int) -> None:
    found = watched(loader(batch=batch))
    rows, labels = backbone_rows(images(60)[0]), images(60)[1]
    asks = row_keys(torch.arange(60)[:, None].double()) % 2 == 1
    assert 20 < asks.sum() < 40
    votes = KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(rows[~asks], labels[~asks])
    assert found["val/knn_accuracy"] == pytest.approx(votes.score(rows[asks], labels[asks]), abs=1e-6)
    assert set(found) == {f"val/{name}" for name in EVERY}


@pytest.mark.parametrize("rounds", [1, 1000], ids=["once", "without end"])
def test_a_single_loader_is_dealt_alike_in_any_order(rounds: int) -> None:
    class Backwards(torch.utils.data.Sampler[int]):
        def __iter__(self) -> Any:
            for _ in range(rounds):
                yield from range(59, -1, -1)
            assert rounds == 1, "nobody should ask for that many"

        def __len__(self) -> int:
            return 60

    backwards = DataLoader(Samples(60), batch_size=15, sampler=Backwards())
    assert watched(backwards) == pytest.approx(watched(loader()), rel=1e-5)


def test_classes_that_take_turns_are_on_both_sides() -> None:
    class Bright(Finetuner):
        def forward(self, inputs: Tensor) -> Tensor:
            rows: Tensor = self.tokens(inputs.flatten(1)[:, :, None])
            return rows

    found = watched(loader(200, classes=2), Bright(), layer="tokens")
    assert found["val/knn_accuracy"] > 0.9  # by the parity of its place it would be 0


@pytest.mark.parametrize(
    ("form", "options", "reason"),
    [
        ("alone", {}, "`batch` must hold its labels as one tensor .* got a torch.float32 tensor of shape"),
        ("scored", {}, r"`labels` must be integers, .* got shape \(\d+,\) and dtype torch.float64"),
        ("tuple", {"classes": 1}, "`gallery_labels` must hold at least two classes; all"),
        ("tuple", {"size": 8}, "`k` must be an integer from 1 to [234], the rows of the gallery; got 5"),
    ],
    ids=["no labels", "scores", "one class", "few rows"],
)
def test_what_cannot_be_computed_is_left_out_and_said_once(form: str, options: dict[str, int], reason: str) -> None:
    run = trainer(EmbeddingMetrics(on_error="raise", layer="model"), max_epochs=2)
    validation = loader(**{"size": 60, "form": form, **options})
    with pytest.warns(UserWarning, match="k-NN accuracy and recall are not logged: ") as told:
        run.fit(Finetuner(), loader(form=form), validation)
    texts = [str(warning.message) for warning in told if "are not logged" in str(warning.message)]
    assert len(texts) == 1
    assert re.search(reason, texts[0])
    assert {name.removeprefix("val/") for name in run.callback_metrics} == EVERY - LABELLED
    assert all(value.isfinite() for value in run.callback_metrics.values())


def test_rows_without_variance_have_no_dimension() -> None:
    class Constant(Finetuner):
        def forward(self, inputs: Tensor) -> Tensor:
            return self.tokens(torch.ones(len(inputs), 3, 1)).flatten(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = watched(loader(), Constant(), layer="tokens")
    assert {"val/total_variance", "val/mean_cosine", "val/knn_accuracy"} <= set(found)
    assert not {"val/effective_dimension", "val/fvu"} & set(found)
    assert not any(value != value for value in found.values())


def test_what_is_monitored_and_cannot_be_computed_is_nan() -> None:
    stopping = EarlyStopping("val/knn_accuracy", check_finite=False)
    run = trainer(EmbeddingMetrics(layer="model"), stopping, max_epochs=1, num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match="k-NN accuracy and recall are not logged: `batch` must hold its labels"):
        run.fit(Finetuner(), loader(), loader(form="alone"))
    assert {name for name, value in run.callback_metrics.items() if value.isnan()} == {"val/knn_accuracy"}


@pytest.mark.parametrize("monitor", [None, "val/knn_accuracy"], ids=["nobody looks", "monitored"])
def test_after_an_error_only_what_is_monitored_is_nan(monitor: str | None) -> None:
    watchers = [EarlyStopping(monitor, check_finite=False)] if monitor else []
    run = trainer(EmbeddingMetrics(layer="modle"), *watchers, max_epochs=1, num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match="`layer` must name a submodule of Finetuner, such as model, tokens"):
        run.fit(Finetuner(), loader(), loader())
    assert {name for name, value in run.callback_metrics.items() if value.isnan()} == ({monitor} if monitor else set())
    assert set(run.callback_metrics) == ({monitor} if monitor else set())


@pytest.mark.parametrize("kind", [EmbeddingMetrics, CollapseGuard])
def test_a_figure_that_was_logged_does_not_linger_after_an_error(kind: Any) -> None:
    class Breaking(Finetuner):
        def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.step(batch) if self.current_epoch == 0 else torch.zeros(())

    guarded = {"after_epoch": 9} if kind is CollapseGuard else {}
    run = trainer(kind(layer="model", **guarded), max_epochs=2, num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match="`layer` must name a submodule that runs in the step; 'model' was not called"):
        run.fit(Breaking(), loader(), loader())
    assert len(run.callback_metrics) in (3, len(EVERY))
    assert all(value.isnan() for value in run.callback_metrics.values())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": "unused"}, "`layer` must name a submodule that runs in the step; 'unused' was not called"),
        (
            {"layer": "tokens"},
            r"The submodule 'tokens' must return one row .* got a torch.float32 tensor of shape \(16",
        ),
        (
            {"layer": None},
            "The step must return a mapping with the key 'embeddings'; got a torch.float32 tensor of sha",
        ),
    ],
    ids=["idle", "no rows", "no mapping"],
)
@pytest.mark.parametrize("kind", [EmbeddingMetrics, CollapseGuard])
def test_a_source_without_rows_is_named(kind: Any, options: dict[str, Any], sentence: str) -> None:
    module = Finetuner()
    with pytest.raises(ValueError, match=sentence):
        trainer(kind(on_error="raise", **options)).validate(module, loader(), verbose=False)
    assert not any(part._forward_hooks for part in module.modules())


def test_the_guard_watches_a_layer_and_leaves_no_hook() -> None:
    module, guard = Finetuner(), CollapseGuard(layer="model", after_epoch=9, on_error="raise")
    run = trainer(guard)
    run.validate(module, loader(), verbose=False)
    unit = nn.functional.normalize(backbone_rows(images(60)[0]).double())
    cosines = (unit @ unit.T)[~torch.eye(60, dtype=torch.bool)]
    assert run.callback_metrics["collapse_guard/mean_cosine"].item() == pytest.approx(cosines.mean().item(), abs=1e-6)
    assert "collapse_guard/fvu" not in run.callback_metrics
    assert not any(part._forward_hooks for part in module.modules())
    assert guard.state_key != CollapseGuard().state_key


@pytest.mark.parametrize("kind", [EmbeddingMetrics, CollapseGuard])
def test_two_of_a_kind_log_under_their_own_names(kind: Any) -> None:
    guarded = {"after_epoch": 9} if kind is CollapseGuard else {}
    one, other = (kind(layer=layer, on_error="raise", **guarded) for layer in ("model", "classification_head"))
    with pytest.raises(ValueError, match=f"`name` must differ between two {kind.__name__}, or they log under"):
        trainer(one, other).validate(Finetuner(), loader(), verbose=False)
    other.name = "scores"
    run = trainer(one, other)
    run.validate(Finetuner(), loader(), verbose=False)
    prefix = "val/" if kind is EmbeddingMetrics else "collapse_guard/"
    both = run.callback_metrics[f"{prefix}mean_cosine"], run.callback_metrics[f"{prefix}scores/mean_cosine"]
    assert both[0] != both[1]


def test_three_loaders_are_too_many() -> None:
    with pytest.raises(ValueError, match=r"`dataloaders` must be one, or two, the gallery and the query; got 3"):
        watched([loader(), loader(), loader()], TwoLoaders())


def test_a_mapping_of_loaders_counts_as_a_list() -> None:
    found = watched({"known": loader(), "asked": loader(30, seed=1)}, TwoLoaders())
    assert found == watched([loader(), loader(30, seed=1)], TwoLoaders())
