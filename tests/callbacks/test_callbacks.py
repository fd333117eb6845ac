# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks import (
    EmbeddingMetrics,
    EmbeddingWriter,
    EncoderPretraining,
    ExactResume,
    RunRecord,
    RunReport,
)
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.loggers.record import RecordLogger
from lightning_monocon.module import MonoCon
from lightning_monocon.scorecard import EmbeddingSet

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


class Plain(L.LightningModule):
    """A module that is not ours: its steps return what it is given."""

    def __init__(self, output: Any = None) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.output = output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        inputs, labels = batch
        return self.output or {"embeddings": inputs, "features": inputs[:, :4], "labels": labels}

    test_step = validation_step
    predict_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 1, **options},
    )


def clusters(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (rows,), generator=generator)
    return torch.randn(rows, 8, generator=generator) + 2 * nn.functional.one_hot(labels, 8), labels


def loader(data: tuple[Tensor, Tensor]) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*data), batch_size=13)


@pytest.mark.parametrize("stage", ["val", "test"])
def test_metrics_agree_with_scikit_learn(stage: str) -> None:
    gallery, query = clusters(100, 0), clusters(41, 1)
    run = trainer(EmbeddingMetrics())
    step = run.validate if stage == "val" else run.test
    step(Plain(), [loader(gallery), loader(query)], verbose=False)
    logged = {name: value.item() for name, value in run.callback_metrics.items()}

    for prefix, width in ((f"{stage}/", 8), (f"{stage}/encoder/", 4)):
        rows, queries = (nn.functional.normalize(part[0][:, :width].double()).numpy() for part in (gallery, query))
        ratios = np.cumsum(PCA().fit(rows).explained_variance_ratio_)
        assert logged[f"{prefix}effective_dimension"] == np.argmax(ratios >= 0.99) + 1
        votes = KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(rows, gallery[1])
        assert logged[f"{prefix}knn_accuracy"] == pytest.approx(votes.score(queries, query[1]), abs=1e-6)
        assert logged[f"{prefix}total_variance"] == pytest.approx(rows.var(axis=0, ddof=1).sum(), rel=0.02)


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


def test_the_writer_keeps_rows_and_labels(tmp_path: Path) -> None:
    gallery, query = clusters(30, 0), clusters(17, 1)
    path = tmp_path / "rows.safetensors"
    trainer(EmbeddingWriter(str(path))).predict(Plain(), [loader(gallery), loader(query)], return_predictions=False)
    data = EmbeddingSet.load(path)
    torch.testing.assert_close((data.gallery, data.gallery_labels), gallery, rtol=0, atol=0)
    torch.testing.assert_close((data.query, data.query_labels), query, rtol=0, atol=0)


def test_the_writer_wants_gallery_and_query(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`predict_dataloader` must return two loaders, \[gallery, query\]"):
        trainer(EmbeddingWriter(str(tmp_path / "x"))).predict(Plain(), loader(clusters(20, 0)))


class Dropping(MonoCon):
    """MonoCon with dropout, whose mask shows what the random state was."""

    def training_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> Tensor:
        self.masks = [*getattr(self, "masks", []), nn.functional.dropout(torch.ones(50), 0.5)]
        return super().training_step(batch, batch_idx)


def test_exact_resume_keys_the_randomness_of_a_step() -> None:
    class Meddler(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            torch.rand(7)

    masks = []
    for callbacks in ([ExactResume(seed=3)], [ExactResume(seed=3), Meddler()]):
        torch.manual_seed(0)
        module = Dropping(SmallCNN(1, (4, 8)), warmup_epochs=0)
        trainer(*callbacks, limit_val_batches=0).fit(module, datamodule=DigitsData(seed=3))
        masks.append(torch.stack(module.masks))
    assert torch.equal(*masks)
    assert len(masks[0].unique(dim=0)) == len(masks[0])


def test_pretraining_is_a_function_of_the_seed_and_leaves_the_random_state_alone() -> None:
    encoders = []
    for _ in range(2):
        torch.manual_seed(1)
        module = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=1)
        before = torch.get_rng_state()
        pretraining = EncoderPretraining(epochs=2, seed=5)
        run = trainer(pretraining, limit_train_batches=0, limit_val_batches=0, max_epochs=2)
        run.fit(module, datamodule=DigitsData(seed=5))
        assert torch.equal(torch.get_rng_state(), before)
        assert not any(parameter.requires_grad for parameter in module.encoder.parameters())  # the warm-up's choice
        encoders.append(module.encoder.state_dict())
    for name, value in encoders[0].items():
        assert torch.equal(encoders[1][name], value)


def test_pretraining_needs_the_number_of_classes() -> None:
    with pytest.raises(ValueError, match="`datamodule` must have an integer `num_classes` to pretrain on, got None"):
        trainer(EncoderPretraining()).fit(MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=0), loader(clusters(26, 0)))


def test_bad_pretraining() -> None:
    with pytest.raises(ValueError, match=r"`epochs` and `lr` must be positive, got 0 and 0.1"):
        EncoderPretraining(epochs=0, lr=0.1)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    holder = RunRecord(str(tmp_path / "run"))
    holder.folder.claim(resume=False)
    with pytest.raises(RuntimeError, match=r"`run_dir` must not be in use; .* is being written by pid \d+ on \S+\."):
        trainer(RunRecord(str(tmp_path / "run"))).fit(Plain(), loader(clusters(26, 0)))
    holder.folder.release()
    trainer(RunRecord(str(tmp_path / "run"))).fit(Plain(), loader(clusters(26, 0)))


def test_a_failed_run_says_so_and_gives_its_folder_back(tmp_path: Path) -> None:
    class Failing(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise FloatingPointError("loss is nan")

    record = RunRecord(str(tmp_path / "run"))
    with pytest.raises(FloatingPointError):
        trainer(record).fit(Failing(), loader(clusters(26, 0)))
    assert '"event": "failure", "error": "FloatingPointError: loss is nan"' in record.folder.record.read_text()
    record.folder.claim(resume=True)
    record.folder.release()


def test_rows_that_cannot_be_scored_do_not_fail_a_finished_run(tmp_path: Path) -> None:
    rows, _ = clusters(26, 0)
    one_class = loader((rows, torch.zeros(26, dtype=torch.long)))
    with pytest.warns(UserWarning, match="The run has no scorecard: `gallery_labels` must hold at least 2 classes"):
        trainer(RunReport(str(tmp_path))).fit(Plain(), one_class, [one_class, one_class])


def test_the_record_holds_json_whatever_the_number(tmp_path: Path) -> None:
    logger = RecordLogger(tmp_path / "record.jsonl")
    logger.log_metrics({"a": float("nan"), "b": torch.tensor(2.0), "epoch": 1}, step=3)
    assert '"epoch": 1, "step": 3, "metrics": {"a": null, "b": 2.0}' in logger.path.read_text()
