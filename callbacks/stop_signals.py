# SPDX-License-Identifier: Apache-2.0
"""Let Ctrl-C and a closed terminal end a run between two steps, as SIGTERM does, so that it saves a whole step."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lightning_monocon.data.workers import is_in_a_loader
from lightning_monocon.training.between_steps import watch_steps

_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
_CHILD: signal.Signals | None = getattr(signal, "SIGCHLD", None)


class StopSignals(Callback):
    """Finish the step under way at the first SIGINT or SIGHUP; stop at once at the second.

    An interrupt in the middle of an optimizer's update leaves some weights new and some old. At SIGTERM, Lightning
    itself waits for the end of the step, and of the validation, if one is under way; this callback does the same for
    SIGINT, and for SIGHUP unless it is ignored or handled.

    A signal to the whole process group ends the processes of the loaders too. torch would raise an error at any place
    of the main process, even in the middle of an update; with this callback it raises when the next batch is fetched.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The signal that was received."""
        self._before: dict[signal.Signals, Any] = {}
        self._of_children: Any = None
        self._process = os.getpid()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the handlers of SIGINT and SIGHUP; only the main thread can."""
        watch_steps(trainer)
        if threading.current_thread() is not threading.main_thread():
            return
        self._process = os.getpid()
        self._take(signal.SIGINT)
        if _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_DFL:  # `nohup` ignores it
            self._take(_HANGUP)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Guard against ended processes of the loaders, which exist by now."""
        self._guard_children()

    def save_between_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here if a signal was received: all hooks of the last step have run, and none of the next."""
        if self.received is not None:
            self._interrupt()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the handlers of the signals."""
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Record an interrupt, and let Lightning restore the handlers when everything is saved.

        Lightning calls no other hook after this one, and would restore the handlers that were set in `on_fit_start`.
        """
        if isinstance(exception, KeyboardInterrupt):
            self.received = self.received or signal.SIGINT
        for number, before in self._before.items():
            trainer._signal_connector._original_handlers[number] = before

    def _take(self, number: signal.Signals) -> None:
        self._before[number] = signal.getsignal(number)
        signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process of a loader, which the main process ends
            return
        if self.received is not None:
            self._interrupt()
        self.received = signal.Signals(number)
        rank_zero_info("Stopping after this step (and its validation, if one is under way); Ctrl-C again: at once.")

    def _interrupt(self) -> None:
        """Stop here, and ignore further signals while the run is saved."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def _guard_children(self) -> None:
        """Wrap torch's handler of ended processes, once a loader has set it."""
        if _CHILD is None or threading.current_thread() is not threading.main_thread():
            return
        present = signal.getsignal(_CHILD)
        if callable(present) and present != self._note_child:
            self._of_children = present
            signal.signal(_CHILD, self._note_child)

    def _note_child(self, number: int, frame: FrameType | None) -> None:
        try:
            self._of_children(number, frame)
        except RuntimeError:
            if is_in_a_loader(frame):  # no step is under way
                raise
            # otherwise the next fetch finds that its process has ended and raises

    def _release(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
        if _CHILD is not None and signal.getsignal(_CHILD) == self._note_child:
            signal.signal(_CHILD, self._of_children)
