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


class Old(nn.Linear):
    """A model whose vectors are stored: three of the six inputs, turned."""

    def __init__(self, width: int = 3, seed: int = 5) -> None:
        super().__init__(6, width, bias=False)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            nn.init.orthogonal_(self.weight)


def beside(old: nn.Module, **options: Any) -> MonoCon:
    torch.manual_seed(0)
    rates = {"warmup_epochs": 1, "lr_warmup": 1e-2, "lr_encoder": 1e-2, "lr_head": 1e-2}
    return MonoCon(nn.Linear(6, 8), "mlp", compatible_with=old, **rates, **options)


def likeness(module: MonoCon, old: nn.Module, width: int = 3) -> float:
    inputs = torch.cat([part for part, _ in loader()])
    with torch.no_grad():
        return float(nn.functional.cosine_similarity(module.eval()(inputs)[:, :width], old(inputs)).mean())


def test_the_first_numbers_learn_to_live_in_the_old_space() -> None:
    old = Old()
    module = beside(old)
    before, weight = likeness(module, old), old.weight.clone()
    fitted = trainer(max_epochs=30)
    fitted.fit(module.train(), loader())
    assert before < 0.5 < 0.85 < likeness(module, old)
    torch.testing.assert_close(old.weight, weight, rtol=0, atol=0)
    assert fitted.callback_metrics["train/compatibility"] < fitted.callback_metrics["train/loss"]


def test_a_run_beside_an_old_model_resumes_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = beside(Old())
    trainer(max_epochs=4).fit(whole, loader())
    half, path = trainer(max_epochs=4, max_steps=4), tmp_path / "half.ckpt"
    half.fit(beside(Old()), loader())
    half.save_checkpoint(path)
    resumed = beside(Old())
    trainer(max_epochs=4).fit(resumed, loader(), ckpt_path=str(path))
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_checkpoint_embeds_without_the_old_model_and_resumes_only_beside_it(tmp_path: Path) -> None:
    module, path = beside(Old()), tmp_path / "model.ckpt"
    fitted = trainer(max_epochs=2)
    fitted.fit(module, loader())
    fitted.save_checkpoint(path)
    loaded = MonoCon.load_from_checkpoint(path, encoder=nn.Linear(6, 8))
    x = torch.randn(4, 6)
    torch.testing.assert_close(loaded(x), module.eval()(x), rtol=0, atol=0)
    assert not any("old" in name for name in loaded.state_dict()), "the old model's weights are not saved again"
    with pytest.raises(ValueError, match="`compatible_with` must be given to train on"):
        trainer().fit(loaded.train(), loader())
    with pytest.raises(ValueError, match="`ckpt_path` must be a checkpoint of the same `compatible_with`"):
        trainer(max_epochs=4).fit(beside(Old(seed=6)), loader(), ckpt_path=str(path))
    with pytest.raises(ValueError, match=r"same `compatible_with`, None; got one of \{'dimension': 3"):
        trainer(max_epochs=4).fit(MonoCon(nn.Linear(6, 8), "mlp", warmup_epochs=1), loader(), ckpt_path=str(path))
    MonoCon.load_from_checkpoint(path, encoder=nn.Linear(6, 8), compatible_with=Old()).old(x)


def test_chunks_give_the_gradient_of_the_whole_batch_beside_an_old_model() -> None:
    batch, grads = next(iter(loader())), []
    for size in (None, 5):
        module = beside(Old(), chunk_size=size)
        module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
        module.training_step(batch, 1).backward()
        grads.append(module.head.generator.grad)
    torch.testing.assert_close(*grads)


def test_without_an_old_model_nothing_is_drawn_and_nothing_is_saved() -> None:
    torch.manual_seed(0)
    module = MonoCon(nn.Linear(6, 8), "mlp", compatible_with=None)
    after = torch.rand(3)
    torch.manual_seed(0)
    nn.Linear(6, 8), MLPHead(8)
    torch.testing.assert_close(after, torch.rand(3), rtol=0, atol=0)
    assert module.description.keys() == {"encoder", "head", "loss", "schedule"}
    assert isinstance(module.head, MLPHead)


@pytest.mark.parametrize(
    ("width", "options", "sentence"),
    [
        (9, {}, "`out_features` must be at least 9, the width of the vectors that `compatible_with` stores; got 8"),
        (3, {"out_features": 2}, "`out_features` must be at least 3, .* got 2"),
        (3, {"compatible_weights": (5.0, -1.0)}, "`influence` must not be negative, got -1.0"),
    ],
)
def test_an_old_space_that_does_not_fit_is_refused(width: int, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        beside(nn.Linear(6, width), **options)
    with pytest.raises(ValueError, match=r"`compatible_with` must be a whole export; it is not: .* nowhere has no"):
        MonoCon(nn.Linear(6, 8), compatible_with="nowhere")
