# SPDX-License-Identifier: Apache-2.0
"""Make a resumed run equal to an uninterrupted one, bit for bit."""

from __future__ import annotations

import random
import warnings
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import IterableDataset

from lightning_monocon.data.keyed_random import key, run_seed
from lightning_monocon.runs import progress
from lightning_monocon.runs.checkpoints import probe_checkpoint_folders
from lightning_monocon.runs.settings import Settings, differences, run_settings
from lightning_monocon.training.between_steps import Position, Steps, callbacks_of, watch_steps
from lightning_monocon.training.schedule import TwoPhaseModule
from lightning_monocon.training.step_state import Switches, kept_checkpoint, overrides, set_switches, switches

_INEXACT = (
    "The checkpoint was not written between two steps: accumulated gradients, or what had yet to run in the step "
    "(hooks, a validation, schedulers, the end of the epoch), are not in it, so the run may not end as an "
    "uninterrupted one would. Resume from a `last.ckpt` of `RollingCheckpoint` for an exact resume."
)


@runtime_checkable
class Resumable(Protocol):
    """Describe a data module that can start its next train loader at any batch."""

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next train loader start at ``batch`` of ``epoch``; its length stays that of the whole epoch."""


class ExactResume(Callback):
    """Key every step's randomness, tell the data module where to resume, and refuse a resume with other settings.

    Lightning alone keeps no random state in a checkpoint, a shuffling loader starts again on resume, and its progress
    counters are wrong on the second resume. This callback seeds the generators of torch, NumPy and Python before each
    step with a hash of (seed, rank, epoch, batch), and likewise before the start of an epoch and before a validation,
    so that no draw depends on earlier ones. The position is stored in the checkpoint and the counters are set to it. A
    `Resumable` data module, whose order and augmentation are functions of (seed, epoch, sample), continues from there.

    Checkpoints that are written between two steps resume exactly, in either phase, at the end of an epoch or within it,
    on the same hardware and software: those of `RollingCheckpoint` and `BestCheckpoint`. A resume from any other, or
    from one that several ranks wrote while they accumulated gradients, warns. On a resume within an epoch,
    ``on_train_epoch_start`` runs again for what it sets outside the checkpoint; the weights and states that it changes
    are restored.

    Args:
        seed: The run's seed; ``None`` takes that of `seed_everything`, or 0 without one.
        allow_drift: Resume although settings differ from the checkpoint's, and train on data that cannot be resumed
            exactly, with a warning.

    Raises:
        ValueError: On resume, if the seed, the world size, a hyper-parameter or a limit of the trainer is not that of
            the checkpoint, or if the checkpoint is from within an epoch and `overfit_batches` replaces the sampler of a
            `Resumable` data module. At the start of training, if the train data is an `IterableDataset` of a data
            module that is not `Resumable`.
    """

    def __init__(self, seed: int | None = None, allow_drift: bool = False) -> None:
        self._seed, self.allow_drift = seed, allow_drift
        self.position = Position(0, 0)
        """Epoch and batch of the next step."""
        self._batches = 0  # before that step, over all epochs
        self._validated: Position | None = None  # where a validation is under way
        self._after_validation = False  # in its last hook
        self._settings: Settings = {}
        self._restored = False
        self._within = False  # an epoch that is resumed, before its first step
        self._earlier: dict[str, list[float | int]] = {}
        self._means: dict[str, tuple[Tensor, ...]] = {}
        self._metrics: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._switches: Switches = {}
        self._checkpoint: dict[str, Any] = {}  # until the epoch that it resumes within has begun
        self._steps: Steps | None = None

    @property
    def seed(self) -> int:
        """Return the seed of the run."""
        return run_seed(self._seed)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record the settings; Lightning restores a checkpoint after this."""
        if stage == "fit":
            self._settings = run_settings(trainer, pl_module, self.seed)
            self._steps = watch_steps(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return seed, position and settings, and the means that an unfinished epoch needs."""
        exact = self._steps is not None and self._steps.exact
        state: dict[str, Any] = {"seed": self.seed, "position": list(self.position), "settings": self._settings}
        state |= {"batches": self._batches, "exact": exact}
        if self._validated is not None and (exact or not self._after_validation):
            state["pending"] = list(self._validated)
        if self.position.batch:
            state["means"] = _as_numbers(self._means)
        return state

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the latest metrics, which schedulers and callbacks may monitor, and accumulated gradients."""
        state = checkpoint["callbacks"][self.state_key]
        state["metrics"] = progress.known_metrics(trainer)
        # a validation has every part in eval mode
        state["switches"] = self._switches if trainer.validating else switches(pl_module)

        accumulating = self._steps is not None and self._steps.with_gradients
        if self._steps is not None and accumulating:
            state |= {"position": list(self._steps.position), "batches": progress.batches(trainer)}
            state["gradients"] = {
                name: parameter.grad.detach().cpu()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }
        within_epoch = state["position"][1] > 0
        if within_epoch and trainer.world_size == 1 and (accumulating or not state["exact"]):
            state["means"] = _as_numbers(progress.running_values(trainer))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Set the counters of a checkpoint that holds this callback's state; Lightning reads them after this."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if state is not None and "loops" in checkpoint:
            pending = state.get("pending")
            progress.repair(
                checkpoint["loops"]["fit_loop"],
                Position(*state["position"]),
                state.get("batches"),
                pending and Position(*pending),
            )
            if self._steps is not None and (pending or state["position"])[1]:
                self._checkpoint = kept_checkpoint(checkpoint)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position of a checkpoint with the same settings."""
        self._check_settings(state_dict)
        if self._settings and not state_dict.get("exact", True):
            rank_zero_warn(_INEXACT)
        self.position, self._restored = Position(*state_dict["position"]), True
        self._batches = state_dict.get("batches", 0)
        self._validated = Position(*state_dict["pending"]) if "pending" in state_dict else None
        self._earlier, self._metrics = state_dict.get("means", {}), state_dict.get("metrics", {})
        self._gradients = state_dict.get("gradients", {})
        self._switches = state_dict.get("switches", {})

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that checkpoints can be written, and set the position of the data module before it builds its loader.

        If the module asked for `estimated_stepping_batches`, a loader was built already, for its length.
        """
        probe_checkpoint_folders(trainer)
        if self._restored:
            progress.skip_sanity_check(trainer)
        data = _data(trainer)
        if self._restored and isinstance(data, Resumable):
            self._check_sampler(trainer)
            progress.forget_loader(trainer)
            data.resume_at(*self.position)
            # the loader does start within the epoch, which Lightning cannot know
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first epoch of a resumed run like any other."""
        self._check_data(trainer)
        if self._restored:
            progress.know_metrics(trainer, self._metrics)
            if not self.position.batch and self._validated is None:
                progress.between_epochs(trainer)

    def epoch_begins(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed every generator for the start of this epoch, and for a loader that draws its order there.

        In the first epoch of a resumed run, everything that was frozen or in eval mode is so again.
        """
        self._seed_generators(trainer, trainer.current_epoch, "start")
        if self._restored:
            set_switches(pl_module, self._switches)
            if isinstance(pl_module, TwoPhaseModule):  # it may have entered its joint phase meanwhile
                pl_module.freeze_by_phase()

    def batches_begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do in the first epoch of a resumed run what Lightning leaves out there."""
        if not self._restored:
            return

        self._restored = False
        self._within = self.position.batch > 0
        if (self._validated or self.position).batch:
            if _starts_epochs(trainer, pl_module):
                progress.start_epoch_again(trainer, pl_module, self._checkpoint)
            set_switches(pl_module, self._switches)
        elif not isinstance(_data(trainer), Resumable):
            progress.fetch_again(trainer)  # a drawn order is that of an uninterrupted run

        progress.within_epoch(trainer, pending=self._validated is not None)
        for name, parameter in pl_module.named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter.device)
        self._gradients, self._checkpoint = {}, {}

    def before_validation(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation under way: a run that ends in it resumes with it."""
        place = Position(trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready)
        self._seed_generators(trainer, *place, "validation")
        self._switches = switches(pl_module)
        self._after_validation = False
        if self._steps is not None and not self._steps.accumulating:
            self._validated = place

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record that the validation is done, for a checkpoint that is saved before the step is over."""
        self._after_validation = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Seed every generator for this step."""
        self._seed_generators(trainer, trainer.current_epoch, batch_idx)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Record where the next step will be, for a checkpoint that is saved before this one is over."""
        if self._within:
            self._complete_metrics(trainer)
        epoch, following = trainer.current_epoch, batch_idx + 1
        if following >= trainer.num_training_batches:
            self._move_to(trainer, Position(epoch + 1, 0))
        elif following % trainer.accumulate_grad_batches == 0:  # gradients are not in a checkpoint
            self._move_to(trainer, Position(epoch, following))

    def between_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record where the next step is."""
        self._validated = None
        if self._steps is not None and not self._steps.accumulating:
            self._move_to(trainer, self._steps.position)
            if self.position.batch and trainer.world_size == 1:  # the means of one rank differ from those of the others
                self._means = progress.running_values(trainer)

    def _complete_metrics(self, trainer: Trainer) -> None:
        """Let the metrics of an interrupted epoch cover the whole of it, or warn that they do not."""
        self._within = False
        progress.add_to_values(trainer, self._earlier)
        self._earlier = {}
        if names := progress.forgetful_metrics(trainer):
            rank_zero_warn(
                f"The metrics that are logged as objects must be persistent to cover the part of this epoch before the "
                f"resume, and {', '.join(names)} will not; call `.persistent(True)` on them in the module's `__init__`."
            )

    def _move_to(self, trainer: Trainer, position: Position) -> None:
        self.position, self._batches = position, progress.batches(trainer)

    def _seed_generators(self, trainer: Trainer, *place: int | str) -> None:
        step = key(self.seed, trainer.global_rank, *place)
        if trainer.strategy.root_device.type == "cpu":
            torch.default_generator.manual_seed(step)  # the same as the next line at a hundredth of the cost
        else:
            torch.manual_seed(step)
        np.random.seed(step % 2**32)
        random.seed(step)

    def _check_settings(self, state_dict: dict[str, Any]) -> None:
        """Refuse settings that differ from those of the checkpoint, or warn about them."""
        stored: Settings = state_dict.get("settings") or {"seed": state_dict["seed"]}
        present = self._settings if len(stored) > 1 else {"seed": self.seed}
        found = differences(stored, present) if self._settings else []
        if found and not self.allow_drift:
            raise ValueError(
                "The run must be resumed with the settings of its checkpoint, or it is another run; these differ: "
                f"{'; '.join(found)}. Restore them, start a new run, or resume nevertheless with `allow_drift=True` "
                "(--allow-drift true)."
            )
        if found:
            rank_zero_warn(
                f"The run resumes with other settings than its checkpoint's: {'; '.join(found)}. It will not end as an "
                "uninterrupted run would; a learning-rate schedule continues as it was stored."
            )

    def _check_sampler(self, trainer: Trainer) -> None:
        """Refuse to start within an epoch if Lightning takes another sampler, which starts at the first batch."""
        overfit: float = vars(trainer)["overfit_batches"]  # which Lightning declares nowhere
        if not self.position.batch or not overfit:
            return
        problem = (
            f"`overfit_batches` must be 0 for an exact resume within an epoch, since it replaces the sampler; got "
            f"{overfit} and a checkpoint from batch {self.position.batch} of an epoch."
        )
        if not self.allow_drift:
            raise ValueError(
                f"{problem} Start the run again, resume from a checkpoint of the end of an epoch, or resume "
                "nevertheless with `allow_drift=True` (--allow-drift true)."
            )
        rank_zero_warn(problem)

    def _check_data(self, trainer: Trainer) -> None:
        """Refuse a stream that cannot be resumed, before hours of training depend on its checkpoints."""
        data = _data(trainer)
        streams = [
            type(loader.dataset).__name__
            for loader in progress.train_loaders(trainer)
            if isinstance(getattr(loader, "dataset", None), IterableDataset)
        ]
        if not streams or isinstance(data, Resumable):
            return

        problem = (
            f"The train data must be able to start within an epoch for an exact resume; the `IterableDataset` "
            f"{streams[0]} cannot: on resume it would start again from its beginning."
        )
        if not self.allow_drift:
            raise ValueError(
                f"{problem} Use a data set with a length, give the data module a method `resume_at(epoch, batch)`, or "
                "train without exact resume with `allow_drift=True` (--allow-drift true)."
            )
        rank_zero_warn(problem)


def _as_numbers(means: dict[str, tuple[Tensor, ...]]) -> dict[str, list[float | int]]:
    return {key: [part.item() for part in parts] for key, parts in means.items()}


def _data(trainer: Trainer) -> object:
    return getattr(trainer, "datamodule", None)


def _starts_epochs(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Return whether a module or callback overrides ``on_train_epoch_start``; if not, no weight has to be copied."""
    return any(overrides(one, "on_train_epoch_start") for one in (pl_module, *callbacks_of(trainer)))
