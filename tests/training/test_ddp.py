# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from helpers.plain_runs import trainer
from helpers.scripts import run_ranks

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN

SCRIPT = Path(__file__).parents[1] / "processes" / "ddp_fit.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two gloo ranks ended with, after warm-up and joint phase."""
    folder = tmp_path_factory.mktemp("ddp")
    run_ranks(SCRIPT, folder)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def test_the_ranks_agree_after_the_encoder_is_unfrozen(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["weights"] for rank in ranks)
    assert ranks[0]["phase"] == ranks[1]["phase"] == "joint"
    assert ranks[0]["steps"] == 3 * (1131 // 2 // 128)
    trained = [name for name in first if "running_" not in name]  # each rank's batch norm has seen its own share
    for name in trained:
        assert torch.equal(first[name], second[name]), name


def test_the_encoder_has_moved(ranks: list[dict[str, Any]]) -> None:
    L.seed_everything(0, verbose=False)
    fresh = SmallCNN(1, (4, 8)).state_dict()
    assert not torch.equal(ranks[0]["weights"]["encoder.stages.0.weight"], fresh["stages.0.weight"])


def test_the_metrics_are_those_of_the_whole_data_and_equal_on_both_ranks(ranks: list[dict[str, Any]]) -> None:
    metrics = {name: value for name, value in ranks[0]["metrics"].items() if name.startswith("val/")}
    assert metrics
    for name, value in metrics.items():
        assert ranks[1]["metrics"][name] == value
    # each rank embeds with its own batch-norm statistics, so the whole is embedded with each rank's, row by row
    data = DigitsData(batch_size=128, seed=0)
    data.setup("validate")
    models = []
    for rank in ranks:
        model = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=0)
        model.load_state_dict(rank["weights"])
        models.append(model.eval())
    judge = trainer(EmbeddingMetrics())
    judge.validate(_Alternating(models), data.val_dataloader(), verbose=False)
    for name, value in metrics.items():
        assert judge.callback_metrics[name].item() == pytest.approx(value, rel=1e-5, abs=1e-6), name


class _Alternating(L.LightningModule):
    """Row i embedded as rank i % 2 did."""

    def __init__(self, models: list[MonoCon]) -> None:
        super().__init__()
        self.models = torch.nn.ModuleList(models)
        self.seen = [0, 0]

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, torch.Tensor]:
        first, second = (model.validation_step(batch, batch_idx) for model in self.models)
        rows = self.seen[dataloader_idx] + torch.arange(len(batch[1]))
        self.seen[dataloader_idx] += len(batch[1])
        odd = (rows % 2 == 1)[:, None]
        outputs = {name: torch.where(odd, second[name], first[name]) for name in ("embeddings", "features")}
        return {**outputs, "labels": batch[1]}
