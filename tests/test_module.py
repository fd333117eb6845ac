# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from helpers import plain_runs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MLPHead, MonoCon, NestedSupConLoss, SupConLoss
from lightning_monocon.encoders import SmallCNN

# These fits are tiny and have no validation data, both of which Lightning mentions.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


def trainer(**options: Any) -> L.Trainer:
    return plain_runs.trainer(**{"max_epochs": 2, **options})


def loader(rows: int = 32, classes: int = 4) -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    inputs = torch.randn(rows, 6, generator=generator) + 3 * nn.functional.one_hot(labels, 6)
    return DataLoader(TensorDataset(inputs, labels), batch_size=16)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[MonoCon, Path]:
    torch.manual_seed(0)
    module = MonoCon(SmallCNN(1, (4, 8)), "linear", out_features=3, warmup_epochs=0, temperature=0.2)
    images = DataLoader(TensorDataset(torch.rand(16, 1, 8, 8), torch.arange(16) % 4), batch_size=16)
    fitted = trainer(max_epochs=1)
    fitted.fit(module, images)
    path = tmp_path / "model.ckpt"
    fitted.save_checkpoint(path)
    return module.eval(), path


@pytest.mark.parametrize("head", ["monotonic", "mlp", "linear", "none"])
def test_every_arm_trains_and_embeds(head: Any) -> None:
    torch.manual_seed(0)
    out = 3 if head == "linear" else None
    module = MonoCon(nn.Linear(6, 8), head, out_features=out, warmup_epochs=1, lr_warmup=1e-3)
    fitted = trainer()
    fitted.fit(module, loader())
    assert torch.isfinite(fitted.callback_metrics["train/loss"])
    embedded = module.validation_step((torch.randn(5, 6), torch.arange(5)), 0)
    assert embedded["embeddings"].shape == (5, out or 8)
    assert embedded["features"].shape == (5, 8)
    assert embedded["embeddings"].dtype == embedded["features"].dtype == torch.float32
    torch.testing.assert_close(embedded["labels"], torch.arange(5))


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    module = MonoCon(nn.Linear(6, 8), "mlp", warmup_epochs=1, lr_warmup=1e-2, lr_encoder=1e-2, lr_head=1e-2)
    (inputs, labels), *_ = loader(32)
    before = module.loss(module(inputs), labels)
    trainer(max_epochs=20).fit(module, loader())
    assert module.loss(module(inputs), labels) < before - 0.1


def test_a_head_and_a_loss_of_the_users() -> None:
    head, loss = MLPHead(8, 4, 2), SupConLoss(0.5, singletons="skip")
    module = MonoCon(nn.Linear(6, 8), head, loss=loss)
    assert module.head is head
    assert module.loss is loss


def test_head_options_reach_the_head() -> None:
    module = MonoCon(nn.Linear(6, 8), head_options={"init": "identity", "hidden_features": 20})
    assert module.head.hidden_layers[0].weight.shape == (20, 8)


def test_predict_returns_embeddings() -> None:
    module = MonoCon(nn.Linear(6, 8), warmup_epochs=0)
    outputs = trainer().predict(module, loader())
    assert outputs is not None
    assert torch.cat([part["embeddings"] for part in outputs]).shape == (32, 8)


def test_a_checkpoint_gives_the_same_embeddings(saved: tuple[MonoCon, Path]) -> None:
    module, path = saved
    again = MonoCon.load_from_checkpoint(path)
    images = torch.rand(7, 1, 8, 8)
    assert not again.training
    assert torch.equal(again(images), module(images))
    assert again.loss.temperature == 0.2
    assert again.schedule == module.schedule
    assert again.description == module.description


def test_a_checkpoint_holds_plain_values_only(saved: tuple[MonoCon, Path]) -> None:
    content = torch.load(saved[1], weights_only=True)
    assert content["monocon"]["encoder"] == {"name": "small_cnn", "in_channels": 1, "widths": [4, 8], "pools": 0}
    assert "hyper_parameters" not in content


def test_an_encoder_of_the_users_must_be_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = MonoCon(nn.Linear(6, 8), MLPHead(8), warmup_epochs=0)
    fitted = trainer(max_epochs=1)
    fitted.fit(module, loader())
    fitted.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(ValueError, match=r"`encoder` must be given: .* an encoder of your own"):
        MonoCon.load_from_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(ValueError, match=r"`head` must be given: .* lightning_monocon.heads.MLPHead"):
        MonoCon.load_from_checkpoint(tmp_path / "own.ckpt", encoder=nn.Linear(6, 8))
    again = MonoCon.load_from_checkpoint(tmp_path / "own.ckpt", encoder=nn.Linear(6, 8), head=MLPHead(8))
    inputs = torch.randn(3, 6)
    assert torch.equal(again(inputs), module(inputs))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"head": "monotone"},
            r"`head` must be one of 'monotonic', 'mlp', 'linear', 'none'; got 'monotone'\. Or pass a mod",
        ),
        ({"head": "linear"}, r"`out_features` must be given for head='linear'"),
        ({"head": "none", "out_features": 3}, r"`out_features` and `head_options` must be left out for head='none'"),
        ({"head_options": {"depth": 3}}, r"`head_options` must be arguments of the monotonic head, got {'depth': 3}"),
        ({"temperature": 0.0}, r"`temperature` must be"),
        ({"lr_head": -1.0}, r"`lr_head` must not be negative, got -1.0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MonoCon(nn.Linear(6, 8), **arguments)


@pytest.mark.parametrize("batch", [torch.zeros(4, 6), (torch.zeros(4, 6),), (torch.zeros(4, 6), [0, 1, 2, 3])])
def test_missing_labels(batch: Any) -> None:
    with pytest.raises(ValueError, match=r"`batch` must hold its labels as one tensor \(B,\) of integers: .* got"):
        MonoCon(nn.Linear(6, 8)).training_step(batch, 0)


def test_labels_that_do_not_fit() -> None:
    module = MonoCon(nn.Linear(6, 8))
    with pytest.raises(ValueError, match=r"`labels` must"):
        module.training_step((torch.zeros(4, 6), torch.zeros(3, dtype=torch.long)), 0)


def test_an_encoder_without_a_known_width() -> None:
    with pytest.raises(ValueError, match=r"`in_features` must be the positive width .* Pass `in_features=<width>`"):
        MonoCon(nn.Sequential(nn.Linear(6, 8)))


@pytest.mark.filterwarnings("ignore:Found .* module")
def test_the_other_lightning_namespace_gets_one_clear_sentence() -> None:
    other = pytest.importorskip("pytorch_lightning")  # only to show what happens
    module = MonoCon(nn.Linear(6, 8), warmup_epochs=0)
    with pytest.raises(TypeError, match="must be a `LightningModule`"):
        other.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1).fit(module, loader())


def test_the_module_nests_its_default_loss_and_says_so_in_the_checkpoint() -> None:
    module = MonoCon(SmallCNN(1, (4, 8)), "linear", out_features=8, nested=True, temperature=0.3, warmup_epochs=0)
    assert isinstance(module.loss, NestedSupConLoss) and module.loss.prefix_loss.temperature == 0.3
    assert module.description["loss"] == {"temperature": 0.3, "nested": True}
    with pytest.raises(ValueError, match=r"`nested` must be False where `loss` is given: .* instead of SupConLoss"):
        MonoCon(SmallCNN(1, (4, 8)), "linear", out_features=8, nested=True, loss=SupConLoss())
