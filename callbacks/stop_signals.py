# SPDX-License-Identifier: Apache-2.0
"""Let Ctrl-C end a run between two steps, as SIGTERM does, so that what it saves is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class StopSignals(Callback):
    """Finish the step under way at the first SIGINT; stop at once at the second.

    An interrupt in the middle of an optimizer's update leaves some weights new and some old. Lightning itself waits for
    the end of the step at SIGTERM, and of the validation, if one is under way; this does the same for SIGINT.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The signal that was received."""
        self._before: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGINT over; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._note)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401  # Lightning's signature
        """Stop here if asked to."""
        if self.received is not None:
            raise KeyboardInterrupt

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give SIGINT back."""
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give SIGINT back: Lightning calls no other hook after this one."""
        if isinstance(exception, KeyboardInterrupt):
            self.received = signal.SIGINT
            return  # Lightning ignores further ones while it shuts down
        self._release()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        rank_zero_info("Stopping after this step (and its validation, if one is under way); Ctrl-C again: at once.")

    def _release(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
