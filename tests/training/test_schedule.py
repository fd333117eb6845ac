# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import SingleDeviceStrategy

from lightning_monocon import MonoCon, SupConLoss
from lightning_monocon.callbacks import EmbeddingMetrics, ExactResume
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.training.schedule import Schedule
from lightning_monocon.watching.settings import settings_of

WARMUP, JOINT = 2, 2

# Lightning advises against what these tests do on purpose: resume without, or into another folder than, the callback
# that wrote the checkpoint.
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:The dirpath has changed")


class Trace(L.Callback):
    """Note phase, rates and encoder at each step, and when validation ran."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, str, list[float], int]] = []
        self.encoders: list[torch.Tensor] = []
        self.validated: list[int] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, MonoCon)
        (optimizer,) = trainer.optimizers
        rates = [group["lr"] for group in optimizer.param_groups]
        self.steps.append((trainer.current_epoch, pl_module.phase, rates, id(optimizer)))
        self.encoders.append(torch.cat([p.detach().flatten() for p in pl_module.encoder.parameters()]))

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.validated.append(trainer.current_epoch)


def model(**options: Any) -> MonoCon:
    torch.manual_seed(0)
    settings = {"lr_encoder": 2e-3, "lr_head": 3e-3, "lr_warmup": 1e-3, "warmup_epochs": WARMUP, **options}
    return MonoCon(SmallCNN(1, (4, 8)), **settings)


def fit(module: MonoCon, *callbacks: L.Callback, ckpt: Path | None = None, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        callbacks=list(callbacks),
        **{"max_epochs": WARMUP + JOINT, "gradient_clip_val": 1.0, "num_sanity_val_steps": 0, **options},
    )
    trainer.fit(module, datamodule=DigitsData(batch_size=256, seed=0), ckpt_path=ckpt, weights_only=True)
    return trainer


def test_warm_up_then_joint_in_one_fit() -> None:
    trace, module = Trace(), model()
    fit(module, trace)
    phases = {epoch: phase for epoch, phase, _, _ in trace.steps}
    assert phases == {0: "warmup", 1: "warmup", 2: "joint", 3: "joint"}
    rates = {epoch: values for epoch, _, values, _ in trace.steps}
    assert rates[0] == [1e-3]
    assert rates[1] == pytest.approx([5e-4])  # cosine over two epochs, half way
    assert rates[2] == pytest.approx([2e-3, 3e-3])  # encoder, head: a fresh cosine
    assert rates[3] == pytest.approx([1e-3, 1.5e-3])
    assert len({optimizer for _, phase, _, optimizer in trace.steps if phase == "warmup"}) == 1
    assert trace.steps[0][3] != trace.steps[-1][3]


def test_the_encoder_stands_still_in_the_warm_up_and_moves_after_it() -> None:
    trace = Trace()
    fit(model(), trace)
    first_joint = [phase for _, phase, _, _ in trace.steps].index("joint")
    assert torch.equal(trace.encoders[0], trace.encoders[first_joint])
    assert not torch.equal(trace.encoders[first_joint], trace.encoders[-1])


def test_warm_up_is_not_validated_and_the_trainer_gets_its_limit_back() -> None:
    trace = Trace()
    trainer = fit(model(), trace, limit_val_batches=3)
    assert trace.validated == [2, 3]
    assert trainer.limit_val_batches == 3


def stopping(patience: int = 1, **options: Any) -> EarlyStopping:
    """Never content: an improvement by more than 1 is none of an accuracy's."""
    return EarlyStopping("val/knn_accuracy", 2.0, patience, mode="max", **options)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("sanity", [0, 1])
def test_patience_knows_nothing_of_the_warm_up(strict: bool, sanity: int) -> None:
    early = stopping(strict=strict)
    trainer = fit(model(), EmbeddingMetrics(), early, max_epochs=WARMUP + 5, num_sanity_val_steps=sanity)
    assert early.stopped_epoch == WARMUP + 1  # its first validation is the best so far, the second is no better
    assert trainer.current_epoch == WARMUP + 2
    assert early in trainer.callbacks


def test_patience_by_the_training_loss_does_not_end_the_run_in_its_warm_up() -> None:
    early = EarlyStopping("train/loss", min_delta=1e3, patience=1)
    fit(model(), early, max_epochs=WARMUP + 5)
    assert early.stopped_epoch == WARMUP + 1


def test_a_metric_that_never_comes_is_refused_by_a_strict_callback_in_the_joint_phase() -> None:
    with pytest.raises(RuntimeError, match="conditioned on metric `val/nonsense` which is not available"):
        fit(model(), EmbeddingMetrics(), EarlyStopping("val/nonsense"))
    fit(model(), EmbeddingMetrics(), EarlyStopping("val/nonsense", strict=False))


@pytest.mark.filterwarnings("error:.*could not find the monitored key")
@pytest.mark.parametrize("options", [{}, {"every_n_train_steps": 2}, {"save_last": True}], ids=str)
def test_the_best_checkpoint_is_one_of_the_joint_phase(tmp_path: Path, options: dict[str, Any]) -> None:
    best = ModelCheckpoint(tmp_path, "best-{epoch}", monitor="val/knn_accuracy", mode="max", **options)
    fit(model(), EmbeddingMetrics(), best, num_sanity_val_steps=1)
    assert best.best_model_score == pytest.approx(max(float(v) for v in best.best_k_models.values()))
    assert torch.load(best.best_model_path, weights_only=True)["monocon"]["phase"] == "joint"


def test_a_checkpoint_by_the_training_loss_or_by_no_metric_is_written_in_the_warm_up(tmp_path: Path) -> None:
    by_loss = ModelCheckpoint(tmp_path, "loss-{epoch}", monitor="train/loss", save_top_k=-1)
    fit(model(), stopping(9), by_loss, keep_all(tmp_path), EmbeddingMetrics())
    epochs = range(WARMUP + JOINT)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"loss-epoch={i}.ckpt" for i in epochs),
        *(f"epoch={i}.ckpt" for i in epochs),
    }


@pytest.mark.filterwarnings("ignore:The checkpoint was not written between two steps")  # Lightning's own never is
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("epoch", [0, WARMUP - 1, WARMUP], ids=["warmup", "boundary", "joint"])
def test_a_resumed_run_stops_at_the_same_epoch(tmp_path: Path, epoch: int) -> None:
    options: dict[str, Any] = {"max_epochs": WARMUP + 6}
    whole = stopping(2)
    fit(model(), ExactResume(seed=0), EmbeddingMetrics(), whole, keep_all(tmp_path), **options)
    resumed = stopping(2)
    ckpt = tmp_path / f"epoch={epoch}.ckpt"
    fit(model(), ExactResume(seed=0), EmbeddingMetrics(), resumed, ckpt=ckpt, **options)
    assert resumed.stopped_epoch == whole.stopped_epoch == WARMUP + 2
    assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize(("mode", "moves"), [("update", True), ("freeze", False)])
def test_batch_norm_of_the_frozen_encoder(mode: str, moves: bool) -> None:
    module = model(bn_while_frozen=mode, warmup_epochs=1)
    statistics = module.encoder.stages[1]
    before = statistics.running_mean.clone()

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 0:
                self.moved = not torch.equal(before, statistics.running_mean)

    look = Look()
    fit(module, look, max_epochs=2)
    assert look.moved == moves
    assert not torch.equal(before, statistics.running_mean)  # the joint phase is in train mode either way


def test_parameters_that_come_frozen_stay_frozen() -> None:
    encoder = SmallCNN(1, (4, 8))
    encoder.stages[0].requires_grad_(False)
    before = encoder.stages[0].weight.clone()
    module = MonoCon(encoder, warmup_epochs=1)
    trainer = fit(module, max_epochs=3)
    assert torch.equal(encoder.stages[0].weight, before)
    assert encoder.stages[4].weight.requires_grad
    assert len(trainer.optimizers[0].param_groups[0]["params"]) == len(list(encoder.parameters())) - 1


def test_without_a_head_there_is_no_warm_up() -> None:
    trace = Trace()
    fit(model(head="none"), trace, max_epochs=2)
    assert {phase for _, phase, _, _ in trace.steps} == {"joint"}


def test_a_learnt_temperature_is_trained() -> None:
    temperature = torch.nn.Parameter(torch.tensor(0.2))
    fit(model(loss=SupConLoss(temperature)))
    assert temperature.item() != pytest.approx(0.2, abs=1e-4)


def test_decay_head_false_spares_the_head() -> None:
    trainer = fit(model(decay_head=False, weight_decay=0.1), max_epochs=3)
    assert [group["weight_decay"] for group in trainer.optimizers[0].param_groups] == [0.1, 0.0]


class SGDByHand(L.Callback):
    """Compare each step with its definition: every weight moves by the rate times its gradient and its decay."""

    steps = 0

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.expected = [
            (p, p.detach() - group["lr"] * (p.grad + 0.1 * p.detach()))
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]

    def on_train_batch_end(self, *_: Any) -> None:
        for moved, expected in self.expected:
            torch.testing.assert_close(moved.detach(), expected)
        self.steps += len(self.expected) > 0


def test_sgd_moves_along_the_gradient() -> None:
    steps, module = SGDByHand(), model(optimizer="sgd", lr_encoder=0.1, lr_head=0.1, lr_warmup=0.1, weight_decay=0.1)
    trainer = fit(module, steps, gradient_clip_val=None)
    assert steps.steps == trainer.global_step > 0
    assert settings_of(trainer)["optimizer"] == "SGD"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[MonoCon, Path]:
    """An uninterrupted run with one checkpoint an epoch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    module = model()
    fit(module, ExactResume(seed=0), keep_all(folder))
    torch.set_num_threads(threads)
    return module, folder


def keep_all(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)


@pytest.mark.filterwarnings("ignore:The checkpoint was not written between two steps")
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("epoch", range(WARMUP + JOINT - 1), ids=["warmup", "boundary", "joint"])
def test_resume_is_bit_equal(whole: tuple[MonoCon, Path], epoch: int) -> None:
    truth, folder = whole
    torch.manual_seed(1234)  # a new process has another random state
    resumed = model(warmup_epochs=WARMUP)
    torch.manual_seed(99)
    fit(resumed, ExactResume(seed=0), ckpt=folder / f"epoch={epoch}.ckpt")
    for name, value in truth.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.filterwarnings("ignore:The checkpoint was not written between two steps")
@pytest.mark.usefixtures("deterministic")
def test_resume_of_a_resume_is_bit_equal(whole: tuple[MonoCon, Path], tmp_path: Path) -> None:
    truth, folder = whole
    fit(model(), ExactResume(seed=0), keep_all(tmp_path), ckpt=folder / "epoch=0.ckpt")
    again = model()
    fit(again, ExactResume(seed=0), ckpt=tmp_path / "epoch=2.ckpt")
    for name, value in truth.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_another_seed_is_refused_on_resume(whole: tuple[MonoCon, Path]) -> None:
    with pytest.raises(ValueError, match="these differ: seed: 0 in the checkpoint, 5 now"):
        fit(model(), ExactResume(seed=5), ckpt=whole[1] / "epoch=0.ckpt")


def test_another_head_is_refused_on_resume(whole: tuple[MonoCon, Path]) -> None:
    with pytest.raises(
        ValueError, match=r"`ckpt_path` must be a checkpoint of this head, .*'mlp'.*got one of .*'monoton"
    ):
        fit(model(head="mlp"), ckpt=whole[1] / "epoch=0.ckpt")


def test_no_joint_epoch_left() -> None:
    with pytest.raises(ValueError, match=r"`max_epochs` must exceed the 2 warm-up epochs, .* got 2"):
        fit(model(), max_epochs=2)


def test_untested_strategies_are_refused() -> None:
    class Sharded(SingleDeviceStrategy):
        pass

    class Other:
        checkpoint_io = None

    module = model()
    module.trainer = type("T", (), {"max_epochs": 9, "fast_dev_run": False, "strategy": Other()})()  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=r"A warm-up was not tested with Other: .* or warmup_epochs=0"):
        module.setup("fit")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lr_head": -1.0}, "`lr_head` must not be negative, got -1.0"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must not be negative, got -1"),
        ({"weight_decay": float("nan")}, "`weight_decay` must not be negative, got nan"),
        ({"bn_while_frozen": "off"}, "`bn_while_frozen` must be one of 'update', 'freeze'; got 'off'"),
        ({"optimizer": "adam"}, "`optimizer` must be one of 'adamw', 'sgd'; got 'adam'"),
    ],
)
def test_bad_schedule(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Schedule(**options).checked()
