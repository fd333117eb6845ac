# SPDX-License-Identifier: Apache-2.0
import lightning.pytorch as L
import pytest
import torch
from helpers import plain_runs

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EmbeddingMetrics
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN


@pytest.fixture
def trainer() -> L.Trainer:
    return plain_runs.trainer(EmbeddingMetrics())


def model() -> MonoCon:
    torch.manual_seed(0)
    return MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=0)


@pytest.mark.parametrize("command", ["validate", "test"])
def test_every_figure_is_printed_once_with_its_whole_name(
    trainer: L.Trainer, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    returned = getattr(trainer, command)(model(), datamodule=DigitsData())
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert len(returned) == 2  # what Lightning returns is left as it is
    assert set(printed) == set(returned[0])
    for name, value in printed.items():
        assert float(value) == pytest.approx(returned[0][name], rel=1e-5)


def test_a_second_call_prints_again_and_verbose_false_prints_nothing(
    trainer: L.Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    for verbose, times in ((True, 1), (False, 0), (True, 1)):
        trainer.test(model(), datamodule=DigitsData(), verbose=verbose)
        assert capsys.readouterr().out.count("test/knn_accuracy") == times


def test_validations_of_a_fit_print_nothing(trainer: L.Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    trainer.fit(model(), datamodule=DigitsData())
    assert "val/knn_accuracy" in trainer.callback_metrics
    assert capsys.readouterr().out == ""
