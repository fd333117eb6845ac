# SPDX-License-Identifier: Apache-2.0
"""No callback changes training by one bit unless that is its purpose, and none that watches ends a run."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import callbacks
from lightning_monocon.callbacks import (
    BestCheckpoint,
    CollapseGuard,
    EmbeddingMetrics,
    EmbeddingWriter,
    NaNGuard,
    RollingCheckpoint,
    RunRecord,
    RunReport,
    SemanticLandscape,
    SentenceSimilarity,
    ShardWriter,
    StopSignals,
)
from lightning_monocon.callbacks._watcher import Watcher, harmless
from lightning_monocon.inference.embed import untouched

STEPS, EPOCHS = 5, 2
MID_EPOCH, EPOCH_END = 2, STEPS
CHANGES_ON_PURPOSE = {"EncoderAcceleration", "EncoderPretraining", "ExactResume"}
"""How randomness is keyed, where the encoder starts from, how it computes."""

Make = Callable[[Path, int], L.Callback]
EVERY: dict[str, Make] = {
    "BestCheckpoint": lambda folder, every: BestCheckpoint(str(folder), monitor="shown"),
    "CollapseGuard": lambda folder, every: CollapseGuard(),
    "EmbeddingMetrics": lambda folder, every: EmbeddingMetrics(),
    "EmbeddingWriter": lambda folder, every: EmbeddingWriter(str(folder / "rows.safetensors")),
    "NaNGuard": lambda folder, every: NaNGuard("skip"),
    "RollingCheckpoint": lambda folder, every: RollingCheckpoint(str(folder)),
    "RunRecord": lambda folder, every: RunRecord(str(folder / "run")),
    "RunReport": lambda folder, every: RunReport(str(folder)),
    "SemanticLandscape": lambda folder, every: SemanticLandscape(
        24, schedule=1 if every == MID_EPOCH else "validation", layer="trunk", budget=None, groups=False
    ),
    "SentenceSimilarity": lambda folder, every: SentenceSimilarity(),
    "ShardWriter": lambda folder, every: ShardWriter(str(folder / "shards")),
    "StopSignals": lambda folder, every: StopSignals(),
}
WATCHERS = {
    name: kind for name, kind in vars(callbacks).items() if isinstance(kind, type) and issubclass(kind, Watcher)
}


class Drawing(L.LightningModule):
    """Dropout, batch norm, and one number from each random generator a step: all that a callback could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 8))
        self.still = nn.BatchNorm1d(8).eval()  # a part that its owner keeps in eval mode
        self.drawn: list[float] = []

    def forward(self, inputs: Tensor) -> Tensor:
        rows: Tensor = self.still(self.trunk(inputs))
        return rows

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.still.eval()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.drawn += [random.random(), float(np.random.rand()), float(torch.rand(()))]
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        rows = self(batch[0])
        return {"embeddings": rows, "features": rows[:, :4], "labels": batch[1]}

    def on_validation_epoch_end(self) -> None:
        self.log("shown", float(self.trainer.global_step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 3e-2)


class Classes(L.LightningDataModule):
    """Four classes in eight dimensions, shuffled; with scored pairs for whoever judges those."""

    def rows(self, count: int, seed: int) -> TensorDataset:
        labels = torch.arange(count) % 4
        noise = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
        return TensorDataset(noise + 2 * torch.eye(8)[labels], labels)

    def train_dataloader(self) -> DataLoader[Any]:
        order = torch.Generator().manual_seed(9)
        return DataLoader(self.rows(16 * STEPS, 0), batch_size=16, shuffle=True, generator=order)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [DataLoader(self.rows(count, seed), batch_size=20) for count, seed in ((40, 1), (20, 2))]

    def similarity_dataloader(self, stage: str) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.rows(20, 3).tensors[0], torch.arange(20)), batch_size=8)

    def similarity_scores(self, stage: str) -> np.ndarray[Any, Any]:
        return np.linspace(0, 5, 10)


def fit(folder: Path, every: int, *watching: L.Callback) -> tuple[Drawing, L.Trainer]:
    """Validate after every so many steps; EPOCH_END is the epoch's end, MID_EPOCH within it too."""
    L.seed_everything(3, verbose=False)
    module = Drawing()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        val_check_interval=every,
        logger=False,
        enable_checkpointing=any(isinstance(one, L.callbacks.Checkpoint) for one in watching),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(watching),
        default_root_dir=folder,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice; a callback's error shows in its attribute too
        warnings.filterwarnings("always", ".* stops watching")
        trainer.fit(module, datamodule=Classes())
    return module, trainer


def traces(module: Drawing, trainer: L.Trainer) -> dict[str, Tensor]:
    """Return weights, statistics, moments, what was drawn, and where each random generator stands."""
    found = {f"weights/{name}": value for name, value in module.state_dict().items()}
    for index, state in enumerate(trainer.optimizers[0].state.values()):
        found |= {f"moments/{index}/{name}": value for name, value in state.items()}
    found["drawn"] = torch.tensor(module.drawn, dtype=torch.float64)
    found["random"] = torch.tensor(hash(random.getstate()))
    found["numpy"] = torch.from_numpy(np.random.get_state()[1].astype(np.int64))
    found["torch"] = torch.get_rng_state()
    found["modes"] = torch.tensor([part.training for part in module.modules()])
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("alone")
    return {every: traces(*fit(folder, every)) for every in (MID_EPOCH, EPOCH_END)}


def test_every_callback_is_here() -> None:
    shipped = {
        name for name, kind in vars(callbacks).items() if isinstance(kind, type) and issubclass(kind, L.Callback)
    }
    assert set(EVERY) | CHANGES_ON_PURPOSE == shipped
    assert set(WATCHERS) >= {
        "CollapseGuard",
        "EmbeddingMetrics",
        "RunReport",
        "SemanticLandscape",
        "SentenceSimilarity",
    }


@pytest.mark.parametrize("every", [MID_EPOCH, EPOCH_END], ids=["mid-epoch", "epoch end"])
@pytest.mark.parametrize("name", EVERY)
def test_training_is_the_same_to_the_bit(
    name: str, every: int, alone: dict[int, dict[str, Tensor]], tmp_path: Path
) -> None:
    callback = EVERY[name](tmp_path, every)
    found = traces(*fit(tmp_path, every, callback))
    assert getattr(callback, "error", None) is None
    assert set(found) == set(alone[every])
    for key, value in alone[every].items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0, msg=f"{name} has changed {key}")


INSIDES = {  # what each watcher does its work by, in its own module
    "CollapseGuard": "lightning_monocon.metrics.MeanCosine.update",
    "EmbeddingMetrics": "lightning_monocon.callbacks._rows.taken",
    "RunReport": "lightning_monocon.callbacks.run_report.embed",
    "SemanticLandscape": "lightning_monocon.callbacks.semantic_landscape.evaluate",
    "SentenceSimilarity": "lightning_monocon.callbacks.sentence_similarity.embed",
}


def broken(*_: Any, **__: Any) -> None:
    raise ArithmeticError("broken on purpose")


@pytest.mark.parametrize("name", INSIDES)
def test_an_error_inside_leaves_the_run_alive_with_one_warning(
    name: str, alone: dict[int, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(INSIDES[name], broken)
    with pytest.warns(
        UserWarning, match=f"{name} stops watching and the run continues: ArithmeticError: broken"
    ) as told:
        module, trainer = fit(
            tmp_path, MID_EPOCH, EVERY[name](tmp_path, MID_EPOCH), BestCheckpoint(str(tmp_path), "shown")
        )
    assert sum("stops watching" in str(warning.message) for warning in told) == 1
    assert trainer.global_step == STEPS * EPOCHS
    assert trainer.state.finished
    found = traces(module, trainer)
    for key, value in alone[MID_EPOCH].items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0, msg=f"{name} has changed {key}")


@pytest.mark.parametrize("name", INSIDES)
def test_raise_lets_the_error_end_the_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INSIDES[name], broken)
    callback = EVERY[name](tmp_path, MID_EPOCH)
    callback.on_error = "raise"  # type: ignore[attr-defined]
    with pytest.raises(ArithmeticError, match="broken on purpose"):
        fit(tmp_path, MID_EPOCH, callback)


def test_a_monitored_metric_is_still_there_when_its_callback_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(INSIDES["EmbeddingMetrics"], broken)
    with pytest.warns(UserWarning, match="EmbeddingMetrics stops watching"):
        _, trainer = fit(tmp_path, EPOCH_END, EmbeddingMetrics(), BestCheckpoint(str(tmp_path)))
    assert trainer.callback_metrics["val/knn_accuracy"].isnan()
    assert trainer.state.finished


@pytest.mark.parametrize("name", sorted(WATCHERS))
def test_every_hook_of_a_watcher_is_harmless(name: str) -> None:
    """A hook is decorated, only counts steps and calls what is, or refuses a mistaken option before the first step."""
    plain = {f"on_{stage}_epoch_{end}" for stage in ("validation", "test") for end in ("start", "end")} | {"on_stop"}
    if name == "SemanticLandscape":  # whose ranks may have to agree first that all of them still watch
        plain |= {"on_fit_start", "on_train_start", "on_train_batch_end", "on_validation_end", "on_train_end"}
    ours = [kind for kind in WATCHERS[name].__mro__ if issubclass(kind, Watcher)]
    for hook, function in (pair for kind in ours for pair in vars(kind).items()):
        if hook.startswith("on_") and hook not in plain:
            assert hasattr(function, "__wrapped__"), f"{name}.{hook} lacks @harmless"


def test_a_new_run_is_watched_anew(tmp_path: Path) -> None:
    guard = CollapseGuard()
    guard.error = ArithmeticError("of the last run")
    _, trainer = fit(tmp_path, EPOCH_END, guard)
    assert guard.error is None
    assert "collapse_guard/mean_cosine" in trainer.callback_metrics


def test_on_error_is_checked() -> None:
    with pytest.raises(ValueError, match="`on_error` must be one of 'warn', 'raise'; got 'hide'"):
        CollapseGuard(on_error="hide")  # type: ignore[arg-type]


def test_interrupts_are_not_swallowed() -> None:
    class Stopping(Watcher):
        @harmless
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stopping().on_fit_start(None, None)


def test_untouched_restores_every_generator_after_an_error_too() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with pytest.raises(ArithmeticError), untouched(module):
        assert not module.training
        random.random(), np.random.rand(), torch.rand(1)
        raise ArithmeticError
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert [part.training for part in module.modules()] == [True, True, False]
