# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from helpers.plain_runs import Plain, clusters, loader, trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.decomposition import PCA
from sklearn.metrics import ndcg_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.functional import Relevance

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


@pytest.mark.parametrize("stage", ["val", "test"])
def test_metrics_agree_with_scikit_learn(stage: str) -> None:
    gallery, query = clusters(100, 0), clusters(41, 1)
    run = trainer(EmbeddingMetrics())
    step = run.validate if stage == "val" else run.test
    step(Plain(), [loader(gallery), loader(query)], verbose=False)
    logged = {name: value.item() for name, value in run.callback_metrics.items()}

    for prefix, width in ((f"{stage}/", 8), (f"{stage}/encoder/", 4)):
        rows, queries = (nn.functional.normalize(part[0][:, :width].double()).numpy() for part in (gallery, query))
        ratios = np.cumsum(PCA(svd_solver="full").fit(rows).explained_variance_ratio_)
        assert logged[f"{prefix}effective_dimension"] == np.argmax(ratios >= 0.99) + 1
        votes = KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(rows, gallery[1])
        assert logged[f"{prefix}knn_accuracy"] == pytest.approx(votes.score(queries, query[1]), abs=1e-6)
        assert logged[f"{prefix}total_variance"] == pytest.approx(rows.var(axis=0, ddof=1).sum(), rel=0.02)


def test_the_geometry_is_that_of_the_centred_unit_rows() -> None:
    gallery, query = clusters(100, 0), clusters(41, 1)
    run = trainer(EmbeddingMetrics(geometry=True))
    run.validate(Plain(), [loader(gallery), loader(query)], verbose=False)
    for prefix, width in (("val/", 8), ("val/encoder/", 4)):
        rows = nn.functional.normalize(gallery[0][:, :width].double()).numpy()
        values = PCA(svd_solver="full").fit(rows).singular_values_
        shares = values / values.sum()
        rank = np.exp(-(shares * np.log(shares)).sum())
        assert run.callback_metrics[f"{prefix}effective_rank"].item() == pytest.approx(rank, rel=1e-4)
        number = np.arange(1, width + 1)
        slope, _ = np.polyfit(np.log(number), 2 * np.log(values), 1, w=number**-0.5)
        assert run.callback_metrics[f"{prefix}alpha_req"].item() == pytest.approx(-slope, rel=1e-4)


def test_each_validation_starts_afresh_and_the_sanity_check_leaves_no_rows() -> None:
    gallery, query = clusters(100, 0), clusters(41, 1)
    seen = []

    class Look(L.Callback):
        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append({k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")})

    run = trainer(EmbeddingMetrics(), Look(), max_epochs=2, num_sanity_val_steps=2)
    run.fit(Plain(), loader(gallery), [loader(gallery), loader(query)])
    sanity, first, second = seen
    assert sanity == {}
    assert first == second  # the data does not change, so neither may the numbers


def test_a_missing_output_lists_those_that_exist() -> None:
    loaders = [loader(clusters(20, 0)), loader(clusters(20, 1))]
    module = Plain({"rows": torch.zeros(13, 8), "targets": torch.zeros(13)})
    with pytest.raises(ValueError, match=r"must return a mapping with the key 'embeddings'; got dict with rows, targ"):
        trainer(EmbeddingMetrics(on_error="raise")).validate(module, loaders, verbose=False)


ANSWERED = {"ndcg_at_10", "mrr_at_10", "map_at_100", "recall_at_1", "recall_at_10", "recall_at_100"}
COMPARED = {"overlap_at_10", "rbo_at_10", "first_kept"}


def cosines(query: Tensor, gallery: Tensor) -> Tensor:
    return nn.functional.normalize(query.double()) @ nn.functional.normalize(gallery.double()).T


def graded(rows: int, queries: int) -> tuple[Tensor, Relevance]:
    """Draw grades 0 to 3 of all pairs, most of them 0; the first query has no relevant row."""
    grades = (torch.randint(40, (queries, rows), generator=torch.Generator().manual_seed(4)) - 36).clamp(min=0)
    grades[0] = 0
    query, row = grades.nonzero().T
    return grades, Relevance(query, row, grades[query, row])


def scikit_ndcg(scores: Tensor, grades: Tensor) -> float:
    some = (grades > 0).any(1)
    return float(ndcg_score(grades[some].numpy(), scores[some].numpy(), k=10))


def shared(first: Tensor, second: Tensor) -> float:
    """Return the mean overlap of the ten highest scores of each query."""
    lists = (scores.topk(10, dim=1).indices.tolist() for scores in (first, second))
    return float(np.mean([len({*mine} & {*theirs}) / 10 for mine, theirs in zip(*lists, strict=True)]))


def logged(run: L.Trainer) -> dict[str, float]:
    return {name: value.item() for name, value in run.callback_metrics.items()}


def unlabelled(rows: Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(rows, rows), batch_size=13)


class Unlabelled(Plain):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return {"embeddings": batch[0], "features": batch[0][:, :4]}

    test_step = validation_step


@pytest.mark.parametrize("stage", ["val", "test"])
def test_known_answers_and_overlap_agree_with_scikit_learn(stage: str) -> None:
    gallery, query = clusters(100, 0)[0], clusters(41, 1)[0]
    grades, relevance = graded(100, 41)
    run = trainer(EmbeddingMetrics(on_error="raise", relevance=relevance, overlap=True))
    step = run.validate if stage == "val" else run.test
    step(Unlabelled(), [unlabelled(gallery), unlabelled(query)], verbose=False)  # no warning of missing labels
    found = logged(run)
    assert found[f"{stage}/ndcg_at_10"] == pytest.approx(scikit_ndcg(cosines(query, gallery), grades), abs=1e-6)
    encoder = cosines(query[:, :4], gallery[:, :4])
    assert found[f"{stage}/encoder/ndcg_at_10"] == pytest.approx(scikit_ndcg(encoder, grades), abs=1e-6)
    assert found[f"{stage}/overlap_at_10"] == pytest.approx(shared(cosines(query, gallery), encoder), abs=1e-6)
    names = {name.split("/", 1)[1] for name in found}
    assert names >= {*ANSWERED, *(f"encoder/{name}" for name in ANSWERED), *COMPARED}
    assert not names & {"knn_accuracy", "encoder/overlap_at_10"}


def test_the_samples_of_one_loader_search_each_other() -> None:
    rows, (grades, _) = clusters(60, 0)[0], graded(60, 60)
    query, row = grades.fill_diagonal_(0).nonzero().T
    run = trainer(EmbeddingMetrics(on_error="raise", relevance=Relevance(query, row, grades[query, row])))
    run.validate(Unlabelled(), unlabelled(rows), verbose=False)
    others = cosines(rows, rows).fill_diagonal_(-2.0)
    assert logged(run)["val/ndcg_at_10"] == pytest.approx(scikit_ndcg(others, grades), abs=1e-6)


def test_answers_without_their_rows_are_nan_for_a_monitor_and_left_out_otherwise() -> None:
    loaders = [unlabelled(clusters(100, 0)[0]), unlabelled(clusters(41, 1)[0])]
    watched = EmbeddingMetrics(relevance=graded(100, 41)[1])
    for stop, names in (([], set()), ([EarlyStopping("val/ndcg_at_10", check_finite=False)], {"val/ndcg_at_10"})):
        run = trainer(watched, *stop, limit_val_batches=2)
        with pytest.warns(UserWarning, match="known answers are not logged: `relevance` must name rows of the gallery"):
            run.validate(Unlabelled(), loaders, verbose=False)
        found = logged(run)
        assert {name for name in found if "_at_" in name} == names
        assert all(np.isnan(found[name]) for name in names)


def test_figures_that_cannot_be_computed_end_the_run_where_errors_are_to_be_raised() -> None:
    loaders = [unlabelled(clusters(count, 0)[0]) for count in (100, 41)]
    answered = EmbeddingMetrics(on_error="raise", relevance=graded(100, 41)[1])
    with pytest.raises(ValueError, match="`relevance` must name rows of the gallery"):
        trainer(answered, limit_val_batches=2).validate(Unlabelled(), loaders, verbose=False)
    compared = EmbeddingMetrics(on_error="raise", overlap=True)
    few = [unlabelled(rows[:8]) for rows, _ in (clusters(20, 0), clusters(20, 1))]
    fault = "`k` must be an integer from 1 to 8, the rows of the gallery; got 10"
    with pytest.warns(UserWarning, match="k-NN accuracy and recall"), pytest.raises(ValueError, match=fault):
        trainer(compared).validate(Unlabelled(), few, verbose=False)


def test_answers_of_a_data_module_must_be_of_their_type() -> None:
    class Wrong(L.LightningDataModule):
        def relevance(self, stage: str) -> Any:
            return [(0, 1)]

        def val_dataloader(self) -> Any:
            return [unlabelled(clusters(20, seed)[0]) for seed in (0, 1)]

    fault = r"`relevance\('val'\)` of Wrong must return a Relevance\(query, row, grade\) of places, or None; got list\."
    with pytest.raises(TypeError, match=fault):
        trainer(EmbeddingMetrics(on_error="raise")).validate(Unlabelled(), datamodule=Wrong(), verbose=False)
    with pytest.warns(UserWarning, match=fault):
        trainer(EmbeddingMetrics()).validate(Unlabelled(), datamodule=Wrong(), verbose=False)


@pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled")
def test_a_loader_that_shuffles_cannot_have_places() -> None:
    rows = clusters(60, 0)[0]
    shuffled = DataLoader(TensorDataset(rows, rows), batch_size=13, shuffle=True)
    run = trainer(EmbeddingMetrics(on_error="raise", relevance=graded(60, 60)[1]))
    with pytest.raises(
        ValueError, match=r"or taken for another; got RandomSampler: it gives another order each time\."
    ):
        run.validate(Unlabelled(), [shuffled, unlabelled(rows)], verbose=False)


def test_an_overlap_of_a_layer_is_refused_before_the_run() -> None:
    with pytest.raises(
        ValueError, match=r"`overlap` must be False where `layer` is given, .*; got layer='layer'\. Leav"
    ):
        EmbeddingMetrics(layer="layer", overlap=True)


def test_an_overlap_without_the_encoders_output_is_left_out_alone() -> None:
    class Output(Plain):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return {"embeddings": batch[0]}

    loaders = [loader(clusters(20, seed)) for seed in (0, 1)]
    with pytest.raises(ValueError, match="`overlap` must be False unless the step returns the encoder's output as"):
        trainer(EmbeddingMetrics(on_error="raise", overlap=True)).validate(Output(), loaders, verbose=False)
    run = trainer(EmbeddingMetrics(overlap=True))
    with pytest.warns(UserWarning, match=r"overlap with the encoder is not logged: .*Return `features` from") as told:
        run.validate(Output(), loaders, verbose=False)
    assert sum("overlap" in str(one.message) for one in told) == 1
    assert {"val/knn_accuracy", "val/effective_dimension"} <= set(logged(run))
    assert not COMPARED & {name.removeprefix("val/") for name in logged(run)}

    run = trainer(EmbeddingMetrics(on_error="raise", overlap=True))
    run.validate(MonoCon(nn.Linear(8, 8), "none", in_features=8), loaders, verbose=False)
    assert not [name for name in logged(run) if "overlap" in name]  # an encoder alone keeps its own neighbours


@pytest.mark.parametrize("finite", [True, False])
def test_a_figure_that_cannot_be_computed_does_not_end_a_run_silently(finite: bool) -> None:
    loaders = [unlabelled(clusters(20, seed)[0]) for seed in (0, 1)]
    stop = EarlyStopping("val/knn_accuracy", check_finite=finite, mode="max", patience=9)
    run = trainer(EmbeddingMetrics(), stop, max_epochs=3)
    with pytest.warns(UserWarning) as told:
        run.fit(Unlabelled(), loader(clusters(20, 0)), loaders)
    ends = [str(one.message) for one in told if "EarlyStopping ends the run now" in str(one.message)]
    assert run.current_epoch == (1 if finite else 3)
    assert len(ends) == (1 if finite else 0)
    assert all("monitors 'val/knn_accuracy', which EmbeddingMetrics cannot compute" in one for one in ends)
    assert any("k-NN accuracy and recall are not logged" in str(one.message) for one in told)


@pytest.mark.parametrize(
    ("query", "row", "fault"),
    [
        (41, 0, r"its `query` has 41, and the last of the 41 samples is at 40\. Count places from 0"),
        (0, 100, r"its `row` has 100, and the last of the 100 samples is at 99\."),
    ],
)
def test_answers_past_the_end_are_refused(query: int, row: int, fault: str) -> None:
    loaders = [unlabelled(clusters(count, 0)[0]) for count in (100, 41)]
    known = Relevance(torch.tensor([0, query]), torch.tensor([1, row]), torch.ones(2))
    with pytest.raises(ValueError, match=fault):
        trainer(EmbeddingMetrics(on_error="raise", relevance=known)).validate(Unlabelled(), loaders, verbose=False)
    with pytest.warns(UserWarning, match=fault):
        trainer(EmbeddingMetrics(relevance=known)).validate(Unlabelled(), loaders, verbose=False)


def test_answers_that_name_the_sample_itself_are_refused_with_one_loader() -> None:
    known = Relevance(torch.arange(5), torch.arange(5), torch.ones(5))  # meant for two data sets
    rows = clusters(60, 0)[0]
    run = trainer(EmbeddingMetrics(on_error="raise", relevance=known))
    with pytest.raises(ValueError, match=r"not name a sample as its own answer .*; it does for 5 places, such as 0\."):
        run.validate(Unlabelled(), unlabelled(rows), verbose=False)
    run.validate(Unlabelled(), [unlabelled(rows), unlabelled(rows)], verbose=False)
    assert logged(run)["val/recall_at_1"] == 1.0
    with pytest.raises(
        TypeError, match=r"`relevance` must be a Relevance\(query, row, grade\) of places, or None; got dic"
    ):
        EmbeddingMetrics(relevance={})  # type: ignore[arg-type]


class AnsweredDigits(DigitsData):
    """Digits of which rows of the query's class are known answers, and no classes."""

    has_classes = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def relevance(self, stage: Literal["val", "test"]) -> Relevance:
        self.asked.append(stage)
        part = self.val if stage == "val" else self.test
        query, row = np.nonzero(part.labels[:, None] == self.train.labels)
        return Relevance(torch.from_numpy(query), torch.from_numpy(row), torch.ones(len(query)))


@pytest.mark.parametrize("monitor", ["val/ndcg_at_10", "val/overlap_at_10"])
def test_early_stopping_and_best_checkpoint_of_a_run(monitor: str, tmp_path: Path) -> None:
    history: list[float] = []

    class Look(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            history.append(trainer.callback_metrics[monitor].item())

    torch.manual_seed(0)
    model, data = MonoCon(SmallCNN(1, (4, 8)), "mlp", warmup_epochs=0, lr_encoder=0.02, lr_head=0.02), AnsweredDigits()
    stop = EarlyStopping(monitor, mode="max", min_delta=2.0, patience=2)  # nothing is so much better
    best = ModelCheckpoint(tmp_path, monitor=monitor, mode="max")
    run = trainer(
        EmbeddingMetrics(on_error="raise", overlap=True), Look(), stop, best,
        max_epochs=6, num_sanity_val_steps=0, enable_checkpointing=True,
    )  # fmt: skip
    run.fit(model, data)
    assert len(history) == run.current_epoch == 3
    assert best.best_model_score == max(history)
    assert len(set(history)) == 3
    assert set(data.asked) == {"val"}
    assert stop.best_score == history[0]

    weights = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    model.load_state_dict(weights)
    with torch.inference_mode():
        images = [torch.from_numpy(part.images) for part in (data.train, data.val)]
        features = [model.eval().encoder(part) for part in images]
        gallery, query = (model.head(part) for part in features)
    scores = cosines(query, gallery)
    if monitor == "val/ndcg_at_10":
        same = torch.from_numpy(data.val.labels[:, None] == data.train.labels).long()
        assert max(history) == pytest.approx(scikit_ndcg(scores, same), abs=1e-4)
    else:
        assert max(history) == pytest.approx(shared(scores, cosines(features[1], features[0])), abs=0.01)
