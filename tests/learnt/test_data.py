# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lightning_monocon import MonoCon
from lightning_monocon.cli import main
from lightning_monocon.data import DigitsData
from lightning_monocon.inference.shards import Rows, ShardFolder, Space
from lightning_monocon.learnt import EmbeddingData


def save(path: Path, rows: int, dim: int = 4, labels: bool = True) -> str:
    arrays = {"embeddings": np.arange(rows * dim, dtype=np.float32).reshape(rows, dim)}
    np.savez(path, **arrays, **({"labels": np.array(["b", "a"] * rows)[:rows]} if labels else {}))
    return str(path)


def test_rows_keep_their_labels_and_parts_are_disjoint(tmp_path: Path) -> None:
    data = EmbeddingData(save(tmp_path / "a.npz", 40), save(tmp_path / "b.npz", 6), batch_size=8, val_size=0.25)
    data.setup("fit")
    rows, labels = zip(*data.train_dataloader(), strict=True)
    found = torch.cat(rows)
    assert len(rows) == 3 and torch.equal(torch.cat(labels), 1 - (found[:, 0] / 4).long() % 2)  # "a" is 0
    numbers = torch.cat([data.train.rows, data.val.rows])[:, 0] / 4
    assert sorted(numbers.tolist()) == list(range(40)) and len(data.val) == 10
    assert len(data.test) == 6 and data.has_classes and data.monitor == "val/knn_accuracy"


def test_a_train_loader_resumes_within_an_epoch(tmp_path: Path) -> None:
    file = save(tmp_path / "a.npz", 40)
    whole, resumed = (EmbeddingData(file, batch_size=8) for _ in range(2))
    for data in (whole, resumed):
        data.setup("fit")
    resumed.resume_at(0, 2)
    assert torch.equal([*whole.train_dataloader()][2][0], next(iter(resumed.train_dataloader()))[0])


def test_rows_without_labels_have_no_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(12, dtype=np.float32))
    data = EmbeddingData(str(tmp_path / "a.npy"), batch_size=4)
    data.setup("fit")
    assert not data.has_classes and data.monitor == "val/overlap_at_10" and data.test is data.val


def test_vectors_without_labels_are_refused_before_a_head_is_trained(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(12, dtype=np.float32))
    model = MonoCon(torch.nn.Identity(), in_features=12, warmup_epochs=0)
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match="must hold labels, from which"):
        trainer.fit(model, EmbeddingData(str(tmp_path / "a.npy"), batch_size=4))


def test_vectors_beyond_float32_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((12, 3), 1e39))
    with pytest.raises(ValueError, match=r"`train` must lie within the range of float32, up to 3\.4e\+38.* got 1e\+39"):
        EmbeddingData(str(tmp_path / "a.npy"), batch_size=4).setup("fit")


@pytest.mark.parametrize(("value", "said"), [(0.0, "zero"), (0.5, "equal")])
def test_vectors_of_an_encoder_that_failed_are_refused(value: float, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embeddings=np.full((12, 3), value, np.float32), labels=np.arange(12) % 2)
    with pytest.raises(ValueError, match=f"`train` must hold vectors that differ; all 12 are {said}"):
        EmbeddingData(str(tmp_path / "a.npz"), batch_size=4).setup("fit")


def test_mistakes_are_named(tmp_path: Path) -> None:
    train = save(tmp_path / "a.npz", 40)
    for test in (save(tmp_path / "b.npz", 6, dim=3), save(tmp_path / "c.npz", 6, labels=False)):
        with pytest.raises(ValueError, match="`test` must have vectors of 4 numbers and labels exactly where"):
            EmbeddingData(train, test, batch_size=8).setup("fit")
    with pytest.raises(ValueError, match="`batch_size` must not exceed the 36 train vectors"):
        EmbeddingData(train, batch_size=37).setup("fit")
    with pytest.raises(FileNotFoundError, match=r"`train` must exist; there is none at .*none\.npz"):
        EmbeddingData(str(tmp_path / "none.npz")).setup("fit")
    with pytest.raises(FileNotFoundError, match=r"`test` must exist; there is none at .*none\.npz"):
        EmbeddingData(train, str(tmp_path / "none.npz"), batch_size=8).setup("fit")
    with pytest.raises(ValueError, match="`val_size`"):
        EmbeddingData(train, val_size=1.0)
    np.savez(tmp_path / "one.npz", embeddings=np.eye(12, dtype=np.float32), labels=np.full(12, 7))
    with pytest.raises(ValueError, match="`train` must hold at least two classes; all 12 labels are 7"):
        EmbeddingData(str(tmp_path / "one.npz"), batch_size=4).setup("fit")


def test_a_folder_of_predicted_vectors_gives_train_and_test(tmp_path: Path) -> None:
    words = ["--config", "digits_encoder", "--untrained", "true", "--out", str(tmp_path / "cache")]
    main(["predict", *words, "--trainer.enable_progress_bar=false"])
    data = EmbeddingData(str(tmp_path / "cache"), batch_size=64)
    data.setup("fit")
    digits = DigitsData()
    digits.setup("predict")
    assert len(data.train) + len(data.val) == len(digits.train) and len(data.test) == len(digits.test)
    assert data.test.labels.tolist() == digits.test.labels.tolist()
    assert data.train.rows.shape[1] == 64 and data.has_classes


def corpus(folder: Path, part: str, model: str, **settings: str) -> str:
    space = Space(model, 1, "safetensors", 40, settings={f"model.{name}": value for name, value in settings.items()})
    shards = ShardFolder(folder, space)
    shards.append(part, Rows(np.arange(40), np.eye(40, 4, dtype=np.float32), np.arange(40) % 2))
    shards.close(done=True)
    return str(folder)


def test_folders_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    train = corpus(tmp_path / "train", "gallery", "a", encoder="Lite(image_size=64)", loss="SupConLoss()")
    same = corpus(tmp_path / "same", "query", "a", encoder="Lite(image_size=64)", loss="None")
    EmbeddingData(train, same, batch_size=8).setup("fit")
    smaller = corpus(tmp_path / "smaller", "query", "a", encoder="Lite(image_size=48)")
    told = (
        r"`test` must be embedded by the model of `train`; it has model\.encoder 'Lite\(image_size=48\)', not 'Lite\("
    )
    with pytest.raises(ValueError, match=told):
        EmbeddingData(train, smaller, batch_size=8).setup("fit")
    with pytest.raises(ValueError, match=r"it has model 'b', not 'a'\. Embed both with one model\."):
        EmbeddingData(train, corpus(tmp_path / "other", "query", "b"), batch_size=8).setup("fit")


@pytest.mark.filterwarnings("ignore:.*configure_optimizers` returned `None`")
@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.filterwarnings("ignore:`parameters` is an empty generator")
def test_an_arm_without_a_head_has_nothing_to_train_and_is_judged(tmp_path: Path) -> None:
    file = save(tmp_path / "a.npz", 200)
    words = [
        "--config",
        "cached_encoder",
        "--data.train",
        file,
        "--model.in_features=4",
        "--data.batch_size=64",
        "--trainer.log_every_n_steps=1",
    ]
    main(["fit", *words, "--run_dir", str(tmp_path / "run"), "--report=false", "--trainer.enable_progress_bar=false"])
    rows = [json.loads(line) for line in (tmp_path / "run" / "record.jsonl").read_text().splitlines()]
    assert any("val/knn_accuracy" in row.get("metrics", {}) for row in rows)
