# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from helpers.scripts import run_ranks
from helpers.sentence_files import write_pairs
from helpers.tiny_text import save_model
from lightning.pytorch.callbacks import EarlyStopping
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import SentenceSimilarity

PAIRS = 11


class ScoredVectors(L.LightningDataModule):
    """Scored pairs of vectors, in a shuffled order and in batches of their own size."""

    has_classes = False

    def __init__(self, batch: int, stages: tuple[str, ...] = ("val", "test")) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.randn(2 * PAIRS, 6, generator=generator)
        self.scores = torch.rand(PAIRS, generator=generator).double().numpy()
        self.order = torch.randperm(2 * PAIRS, generator=generator)
        self.batch, self.stages = batch, stages

    def similarity_dataloader(self, stage: Literal["val", "test"]) -> DataLoader[Any] | None:
        if stage not in self.stages:
            return None
        rows = [(self.rows[i], i) for i in self.order.tolist()]
        return DataLoader(rows, self.batch)  # type: ignore[arg-type]

    def similarity_scores(self, stage: str) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = self.scores
        return scores

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader([(self.rows[0], 0)])  # type: ignore[arg-type]

    test_dataloader = val_dataloader


def trainer(on_error: Any = "raise", **options: Any) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return L.Trainer(accelerator="cpu", logger=False, callbacks=[SentenceSimilarity(on_error)], **quiet, **options)


def oracle(rows: Tensor, scores: NDArray[np.float64]) -> float:
    first, second = rows.double().numpy().reshape(-1, 2, rows.shape[1]).transpose(1, 0, 2)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(spearmanr((first * second).sum(1) / norms, scores).statistic)


@pytest.mark.parametrize("batch", [1, 4, 50], ids=lambda b: f"batch={b}")
def test_head_and_encoder_against_scipy(batch: int) -> None:
    data, model = ScoredVectors(batch), MonoCon(nn.Linear(6, 5), "mlp", in_features=5, warmup_epochs=0)
    with torch.inference_mode():
        features = model.encoder(data.rows)
        embeddings = model.head(features)
    for stage, judge in (("val", trainer().validate), ("test", trainer().test)):
        (values,) = judge(model, data, verbose=False)  # type: ignore[operator]
        assert set(values) == {f"{stage}/spearman", f"{stage}/encoder/spearman"}
        assert values[f"{stage}/spearman"] == pytest.approx(oracle(embeddings, data.scores), abs=1e-6)
        assert values[f"{stage}/encoder/spearman"] == pytest.approx(oracle(features, data.scores), abs=1e-6)


def test_an_encoder_alone_is_judged_once() -> None:
    (values,) = trainer().validate(MonoCon(nn.Linear(6, 5), "none", in_features=5), ScoredVectors(4), verbose=False)
    assert set(values) == {"val/spearman"}


def test_fewer_batches_judge_the_pairs_that_are_whole() -> None:
    data, model = ScoredVectors(8), MonoCon(nn.Linear(6, 5), "none", in_features=5)
    (values,) = trainer(limit_val_batches=2).validate(model, data, verbose=False)
    seen = set(data.order[:16].tolist())
    whole = [i for i in range(PAIRS) if {2 * i, 2 * i + 1} <= seen]
    assert 2 < len(whole) < PAIRS
    with torch.inference_mode():
        rows = model(data.rows).reshape(PAIRS, 2, -1)[whole].flatten(0, 1)
    assert values["val/spearman"] == pytest.approx(oracle(rows, data.scores[whole]), abs=1e-6)


def test_a_stage_without_scored_pairs_is_passed_over() -> None:
    model = MonoCon(nn.Linear(6, 5), "none", in_features=5)
    assert trainer().test(model, ScoredVectors(4, stages=("val",)), verbose=False) == [{}]


SENTENCE = r"`datamodule` must have `similarity_dataloader` and `similarity_scores`, as SentencePairs has"


def without_pairs() -> tuple[MonoCon, DataLoader[Any]]:
    return MonoCon(nn.Linear(6, 5), "none", in_features=5), DataLoader([(torch.zeros(6), 0)])  # type: ignore[arg-type]


def test_data_without_scored_pairs() -> None:
    with pytest.raises(ValueError, match=SENTENCE):
        trainer("raise").validate(*without_pairs(), verbose=False)


@pytest.mark.parametrize("monitor", [None, "val/spearman"], ids=["nobody looks", "monitored"])
def test_after_an_error_nobody_takes_the_figure_for_the_best(monitor: str | None) -> None:
    run = trainer("warn")
    if monitor is not None:
        run.callbacks.append(EarlyStopping(monitor, check_finite=False))  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match=SENTENCE):
        run.validate(*without_pairs(), verbose=False)
    assert {name for name, value in run.callback_metrics.items() if value.isnan()} == ({monitor} if monitor else set())
    assert set(run.callback_metrics) == ({monitor} if monitor else set())


@pytest.mark.slow
def test_two_ranks_judge_as_one(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the text extra is not installed")
    pytest.importorskip("pyarrow", reason="the text extra is not installed")
    from lightning_monocon.data import SNLIData
    from lightning_monocon.encoders import TextEncoder

    save_model(tmp_path / "model")
    write_pairs(tmp_path / "data")
    run_ranks(Path(__file__).parents[1] / "processes" / "ddp_text.py", tmp_path)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for name, weight in ranks[0]["weights"].items():
        assert torch.equal(weight, ranks[1]["weights"][name]), name
    model = MonoCon(TextEncoder(str(tmp_path / "model")), warmup_epochs=0)
    model.load_state_dict(ranks[0]["weights"])
    data = SNLIData(str(tmp_path / "data"), tokenizer=str(tmp_path / "model"), max_length=32, batch_size=4)
    alone = trainer()
    alone.validate(model, data, verbose=False)
    for name in ("val/spearman", "val/encoder/spearman"):
        assert ranks[0]["metrics"][name] == ranks[1]["metrics"][name]
        assert ranks[0]["metrics"][name] == pytest.approx(alone.callback_metrics[name].item(), abs=1e-6)
    assert "val/knn_accuracy" not in ranks[0]["metrics"]
