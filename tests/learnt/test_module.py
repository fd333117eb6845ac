# SPDX-License-Identifier: Apache-2.0
"""A learnt code trains like any model, and helps where a code that is only fitted cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.special import rel_entr, softmax
from torch import Tensor

from lightning_monocon.callbacks import ExactResume, RollingCheckpoint
from lightning_monocon.codes import Codec, FittingRows, load
from lightning_monocon.codes.families import fit_product
from lightning_monocon.functional.coding_rate import coding_rate
from lightning_monocon.learnt import CodecWriter, EmbeddingData, LearntCode
from lightning_monocon.learnt.module import distillation
from lightning_monocon.runs.checkpoints import read_checkpoint

DIM = 12


def planted(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows whose classes differ in four weak numbers beside eight strong ones of noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 6
    means = torch.randn(6, 4, generator=torch.Generator().manual_seed(99))
    signal = means[labels] + 0.15 * torch.randn(count, 4, generator=generator)
    return torch.cat([3 * torch.randn(count, DIM - 4, generator=generator), signal], 1), labels


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows, labels = planted(1100, 0)
    path = tmp_path_factory.mktemp("vectors") / "vectors.npz"
    np.savez(path, embeddings=rows.numpy(), labels=labels.numpy())
    return str(path)


def trainer(folder: Path, epochs: int, *callbacks: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        **quiet, accelerator="cpu", max_epochs=epochs, default_root_dir=folder, callbacks=[*callbacks],
        limit_val_batches=0, enable_checkpointing=any(isinstance(each, RollingCheckpoint) for each in callbacks),
    )  # fmt: skip


def right(codec: Codec, rows: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> float:
    """Share of queries whose nearest code has their class."""
    return float((labels[codec.score(query, codec.encode(rows)).argmax(1)] == truth).double().mean())


def test_the_distillation_is_the_mean_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(2, 5, 9, generator=generator)
    p, q = (softmax(part.double().numpy() / 0.3, axis=1) for part in (targets, scores))
    assert float(distillation(scores, targets, 0.3)) == pytest.approx(rel_entr(p, q).sum(1).mean(), rel=1e-5)


def test_training_finds_the_weak_numbers_that_tell_the_classes_apart(file: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LearntCode(1, DIM, objective="labels", lr=0.2, temperature=0.2)
    trainer(tmp_path, 30, CodecWriter()).fit(model, EmbeddingData(file, batch_size=400))
    gallery, query = planted(1100, 0), planted(300, 1)
    fitted = fit_product(FittingRows.of(gallery[0]), 1, "centred")
    learnt = load(tmp_path / "codec")
    assert learnt.bytes_per_vector == 1 and learnt.family == "learnt"
    assert torch.equal(learnt.encode(query[0]), model.codec().encode(query[0]))
    before, after = (right(each, *gallery, *query) for each in (fitted, learnt))
    assert before < 0.3 and after > 0.7


def test_without_a_step_the_code_is_the_fitted_one(file: str, tmp_path: Path) -> None:
    model, data = LearntCode(2, DIM, lr=0.0), EmbeddingData(file, batch_size=400)
    trainer(tmp_path, 1).fit(model, data)
    fitted = fit_product(FittingRows.of(data.train.rows), 2)
    assert torch.equal(model.codec().encode(data.val.rows), fitted.encode(data.val.rows))


def test_the_coding_rate_is_added_in_bits(file: str, tmp_path: Path) -> None:
    plain, data = LearntCode(1, DIM, lr=0.0), EmbeddingData(file, batch_size=400)
    trainer(tmp_path, 1).fit(plain, data)
    dear = LearntCode(1, DIM, lr=0.0, rate_weight=0.25)
    dear.code = plain.code
    batch = (data.train.rows[:100], data.train.labels[:100])
    for model in (plain, dear):
        model.log = lambda *_, **__: None  # type: ignore[method-assign]
    rate = coding_rate(dear._placed(batch[0][50:], coded=True)[0].detach())
    gap = dear.training_step(batch, 0) - plain.training_step(batch, 0)
    assert gap.item() == pytest.approx(0.25 * rate.item(), rel=1e-4)
    assert gap.requires_grad


def test_a_resumed_run_ends_as_an_uninterrupted_one(file: str, tmp_path: Path) -> None:
    def fit(folder: str, ckpt_path: str | None = None) -> LearntCode:
        torch.manual_seed(0)
        options = {"head": "mlp", "head_options": {"hidden_features": 8}, "warmup_epochs": 1, "lr": 0.01}
        model = LearntCode(1, DIM, objective="labels", **options)  # type: ignore[arg-type]
        kept = RollingCheckpoint(str(tmp_path / folder), keep=9)
        data = EmbeddingData(file, batch_size=300)
        trainer(tmp_path, 4, kept, ExactResume()).fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return model

    whole = fit("whole")
    begun = {}
    for path in (tmp_path / "whole").glob("last-*.ckpt"):
        checkpoint = read_checkpoint(path)
        begun[checkpoint["epoch"], checkpoint["monocon"]["code"] is None] = path
    assert {(1, True), (2, False)} <= begun.keys()  # before there is a code, and after it
    for place in ((1, True), (2, False)):
        resumed = fit(f"resumed{place[0]}", str(begun[place]))
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name
    read = LearntCode.load_from_checkpoint(tmp_path / "whole" / "last.ckpt")
    rows = planted(20, 3)[0]
    assert torch.equal(read.codec().encode(read(rows).detach()), whole.codec().encode(whole(rows).detach()))
    with pytest.raises(ValueError, match="`ckpt_path` must be a checkpoint of this learnt code"):
        LearntCode(2, DIM).on_load_checkpoint({"monocon": {"learnt": read.description}})


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="`objective`"):
        LearntCode(8, DIM, objective="classes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`size` must be positive; got 0"):
        LearntCode(0, DIM)
    with pytest.raises(RuntimeError, match="`codec` needs a code"):
        LearntCode(8, DIM).codec()
