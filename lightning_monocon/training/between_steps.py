# SPDX-License-Identifier: Apache-2.0
"""Tell callbacks when a fit is between two steps.

Lightning has no hook there. In ``on_train_batch_end`` the module's own hook, the validation and the schedulers are
still to come; in ``on_train_batch_start`` the hooks of other callbacks have already run, those of the epoch's start
included. State that such a hook moves is missing from a checkpoint of the first place and is moved twice after one of
the second. The methods of Lightning's loops that end a step and an epoch are therefore extended here.
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
    """The next step."""

    epoch: int
    batch: int


class Phase(Enum):
    """What has happened since a fit was last between two steps."""

    BETWEEN = auto()
    """Nothing is finished; a step, or an epoch, may have begun."""
    STEP_DONE = auto()
    """The step is done, but not what belongs to it: validation, schedulers, the end of the epoch."""
    VALIDATING = auto()
    """A validation is under way."""


class Steps:
    """Where the fit of one trainer is.

    A callback of the trainer that has one of these methods is called with the trainer and its module:

    - ``epoch_begins`` before ``on_train_epoch_start`` of any callback;
    - ``batches_begin`` before the first batch of an epoch, or of the rest of one, is fetched;
    - ``before_validation`` before ``on_validation_start`` of any callback;
    - ``between_steps`` when all hooks of a step have run, those of the end of its epoch included, and none of the next;
    - ``save_between_steps`` right after that, when every callback has done what it does between two steps;
    - ``after_last_step`` before ``on_train_end`` of any callback.

    Use `watch_steps` to get the only one of a trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.phase = Phase.BETWEEN
        self.position = Position(0, 0)
        """The next step, when the fit was last between two."""
        self.exact = False
        """Whether a checkpoint that is written now resumes exactly."""
        self.with_gradients = False
        """Whether it has to hold the gradients that are being accumulated."""
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
        """Whether gradients wait for the optimizer's step."""
        return self._trainer.fit_loop.epoch_loop._should_accumulate()

    @property
    def begun(self) -> tuple[int, int]:
        """Number of epochs and batches whose hooks have begun."""
        loop = self._trainer.fit_loop
        return loop.epoch_progress.total.ready, loop.epoch_loop.batch_progress.total.ready

    @property
    def stepped(self) -> bool:
        """Whether the batch under way is the last of an optimizer's step and has been trained on."""
        batches: Any = self._trainer.fit_loop.epoch_loop.batch_progress.current
        return batches.processed != batches.completed and not self.accumulating

    def _epoch_starts(self) -> None:
        self.phase = Phase.BETWEEN  # whatever an earlier fit of this trainer ended in
        # a loader that is made anew draws random numbers: now, so that what draws next does not depend on it
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
            if self.phase is Phase.STEP_DONE:  # raised behind all that belongs to the step, not in its validation
                self._announce(Position(self._trainer.current_epoch, epoch.batch_progress.current.ready))
            raise
        if not epoch.done:
            self._announce(Position(self._trainer.current_epoch, epoch.batch_progress.current.ready))

    def _epoch_ends(self) -> None:
        self.phase = Phase.STEP_DONE
        try:
            self._end_epoch()
        except SIGTERMException:  # raised behind all that belongs to the epoch
            self._announce(self._after_epoch())
            raise
        self._announce(self._after_epoch())

    def _run_ends(self) -> None:
        with self._at_rest():
            self._call("after_last_step")
        self._end_run()

    def _after_epoch(self) -> Position:
        """Where to continue: within the epoch if the run has ended there, as it does at `max_steps`."""
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
        """Let checkpoints be exact; accumulated gradients differ by rank, and only one rank alone stores them."""
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
    """Return the callbacks of a trainer, which Lightning declares nowhere."""
    found: list[Callback] = vars(trainer)["callbacks"]
    return found


def watch_steps(trainer: Trainer) -> Steps:
    """Return the `Steps` of a trainer, which follow its fits from the first call on."""
    loop = vars(trainer.fit_loop)
    if _OF_THE_LOOP not in loop:
        loop[_OF_THE_LOOP] = Steps(trainer)
    steps: Steps = loop[_OF_THE_LOOP]
    return steps
