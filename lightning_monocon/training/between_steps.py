# SPDX-License-Identifier: Apache-2.0
"""Tell callbacks when a fit is between two steps.

Lightning has no hook there. After ``on_train_batch_end`` the module's own hook, the validation and the schedulers
still have to run; before ``on_train_batch_start`` the hooks of other callbacks have already run, including those of the
start of the epoch. State that such a hook changes is missing from a checkpoint of the first kind and is changed twice
after one of the second. This module therefore extends the methods of Lightning's loops that end a step and an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

if TYPE_CHECKING:
    from lightning.pytorch.loops.fetchers import _DataFetcher

_OF_THE_LOOP = "_monocon_steps"


class Position(NamedTuple):
    """Name the next step."""

    epoch: int
    batch: int


class Phase(Enum):
    """Name what has happened since a fit was last between two steps."""

    BETWEEN = auto()
    """Nothing is finished; a step, or an epoch, may have begun."""
    STEP_DONE = auto()
    """The step is done, but not what belongs to it: validation, schedulers, the end of the epoch."""
    VALIDATING = auto()
    """A validation is under way."""


class Steps:
    """Follow the fit of one trainer from step to step.

    A callback of the trainer that has one of these methods is called with the trainer and its module:

    - ``epoch_begins`` before ``on_train_epoch_start`` of any callback;
    - ``batches_begin`` before the first batch of an epoch, or of its resumed part, is fetched;
    - ``before_validation`` before ``on_validation_start`` of any callback;
    - ``between_steps`` when all hooks of a step have run, with those of the end of its epoch, and none of the next;
    - ``save_between_steps`` right after that, when ``between_steps`` has run for every callback;
    - ``after_last_step`` before ``on_train_end`` of any callback.

    Use `watch_steps` to get the single instance of a trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.phase = Phase.BETWEEN
        self.position = Position(0, 0)
        """The next step, as of the last time that the fit was between two."""
        self.exact = False
        """Whether a checkpoint that is written now resumes exactly."""
        self.with_gradients = False
        """Whether such a checkpoint has to hold the accumulated gradients."""

        fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
        self._start_epoch, self._end_epoch = fit.on_advance_start, fit.on_advance_end
        self._start_batches, self._end_step = epoch.on_run_start, epoch.on_advance_end
        self._validate = epoch.val_loop.run
        self._end_run = fit.on_run_end

        replaced: dict[Any, dict[str, Any]] = {
            fit: {
                "on_advance_start": self._epoch_starts,
                "on_advance_end": self._epoch_ends,
                "on_run_end": self._run_ends,
            },
            epoch: {"on_run_start": self._batches_start, "on_advance_end": self._step_ends},
            epoch.val_loop: {"run": self._validates},
        }
        for loop, methods in replaced.items():
            vars(loop).update(methods)

    @property
    def accumulating(self) -> bool:
        """Return whether gradients wait for the step of the optimizer."""
        return self._trainer.fit_loop.epoch_loop._should_accumulate()

    @property
    def begun(self) -> tuple[int, int]:
        """Return the number of epochs and of batches whose hooks have begun."""
        loop = self._trainer.fit_loop
        return loop.epoch_progress.total.ready, loop.epoch_loop.batch_progress.total.ready

    @property
    def stepped(self) -> bool:
        """Return whether the current batch is the last of an optimizer's step and has been trained on."""
        batches: Any = self._trainer.fit_loop.epoch_loop.batch_progress.current
        return batches.processed != batches.completed and not self.accumulating

    def _epoch_starts(self) -> None:
        self.phase = Phase.BETWEEN  # an earlier fit of this trainer may have ended in another phase
        # a new loader draws random numbers: create it now, so that later draws do not depend on it
        self._trainer.fit_loop.setup_data()
        self._call("epoch_begins")
        self._start_epoch()

    def _batches_start(self, data_fetcher: _DataFetcher) -> None:
        self._call("batches_begin")
        self._start_batches(data_fetcher)

    def _step_ends(self, data_fetcher: _DataFetcher) -> None:
        self.phase = Phase.STEP_DONE
        epoch = self._trainer.fit_loop.epoch_loop
        try:
            self._end_step(data_fetcher)
        except SIGTERMException:
            if self.phase is Phase.STEP_DONE:  # raised after everything that belongs to the step, not in its validation
                self._announce(Position(self._trainer.current_epoch, epoch.batch_progress.current.ready))
            raise
        if not epoch.done:
            self._announce(Position(self._trainer.current_epoch, epoch.batch_progress.current.ready))

    def _epoch_ends(self) -> None:
        self.phase = Phase.STEP_DONE
        try:
            self._end_epoch()
        except SIGTERMException:  # raised after everything that belongs to the epoch
            self._announce(self._after_epoch())
            raise
        self._announce(self._after_epoch())

    def _run_ends(self) -> None:
        with self._at_rest():
            self._call("after_last_step")
        self._end_run()

    def _after_epoch(self) -> Position:
        """Return where to continue: within the epoch if the run has ended there, as it does at `max_steps`."""
        epoch, loop = self._trainer.current_epoch, self._trainer.fit_loop.epoch_loop
        if loop._num_ready_batches_reached():
            return Position(epoch, 0)
        return Position(epoch - 1, loop.batch_progress.current.ready)

    def _validates(self) -> object:
        if self._trainer.sanity_checking:
            return self._validate()
        self._call("before_validation")
        self.phase = Phase.VALIDATING
        outputs = self._validate()
        self.phase = Phase.STEP_DONE
        return outputs

    def _announce(self, position: Position) -> None:
        self.phase, self.position = Phase.BETWEEN, position
        with self._at_rest():
            self._call("between_steps")
            self._call("save_between_steps")

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Mark checkpoints as exact; accumulated gradients differ by rank and are stored only by a single rank."""
        self.with_gradients = self.accumulating and self._trainer.world_size == 1
        self.exact = self.with_gradients or not self.accumulating
        try:
            yield
        finally:
            self.exact = self.with_gradients = False

    def _call(self, method: str) -> None:
        for callback in callbacks_of(self._trainer):
            if (called := getattr(callback, method, None)) is not None:
                called(self._trainer, self._trainer.lightning_module)


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Return the callbacks of a trainer, an attribute that Lightning does not declare."""
    found: list[Callback] = vars(trainer)["callbacks"]
    return found


def watch_steps(trainer: Trainer) -> Steps:
    """Return the `Steps` of a trainer, which follow its fits from the first call on."""
    loop = vars(trainer.fit_loop)
    if _OF_THE_LOOP not in loop:
        loop[_OF_THE_LOOP] = Steps(trainer)
    steps: Steps = loop[_OF_THE_LOOP]
    return steps
