# SPDX-License-Identifier: Apache-2.0
"""Callbacks that only watch: they never change training by one bit, and an error of theirs never ends a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar, cast, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.inference.outputs import monitored

OnError = Literal["warn", "raise"]
P = ParamSpec("P")
W = TypeVar("W", bound="Watcher")


def harmless(hook: Callable[Concatenate[W, P], None]) -> Callable[Concatenate[W, P], None]:
    """Decorate a hook of a `Watcher`: after an error this and all its other hooks do nothing."""

    @wraps(hook)
    def guarded(self: W, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.error is not None:
            return
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            if self.on_error == "raise":
                raise
            self.error = error
            self.on_stop()
            warnings.warn(
                f"{type(self).__name__} stops watching and the run goes on: {type(error).__name__}: {error} "
                "(on_error='raise' would have stopped the run.)",
                stacklevel=2,
            )

    return cast("Callable[Concatenate[W, P], None]", guarded)


class Watcher(Callback):
    """A callback whose hooks, decorated with `harmless`, stop watching at their first error and say so once.

    What a hook does with the module it does within `lightning_monocon.inference.embed.untouched`, which restores each
    submodule's mode and the random states of Python, NumPy, torch and the device.

    Args:
        on_error: ``"warn"`` goes on without this callback after an error, ``"raise"`` lets the error end the run.

    Raises:
        ValueError: If ``on_error`` is neither.
    """

    def __init__(self, on_error: OnError = "warn") -> None:
        check_choice("on_error", on_error, get_args(OnError))
        self.on_error = on_error
        self.error: Exception | None = None
        """What made the callback stop watching."""
        self._logged: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch again: an error of an earlier run says nothing of this one."""
        self.error = None
        self._logged = set()

    def log_figures(self, pl_module: LightningModule, figures: Mapping[str, Tensor | float]) -> None:
        """Log figures that are equal on all ranks; every rank must call it.

        NaN stands for a figure that cannot be computed, which is left out. It is logged, though, where the name was
        logged before or is monitored: whoever looks for it must neither miss it nor take an old value for its own.
        """
        wanted = self._logged | monitored(pl_module)
        found = {name: value for name, value in figures.items() if name in wanted or not math.isnan(float(value))}
        self._logged |= found.keys()
        pl_module.log_dict(found, sync_dist=True)  # averages equal values

    @harmless
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `trainer.validate` has measured, each figure once."""
        print_once(trainer)

    @harmless
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `trainer.test` has measured, each figure once."""
        print_once(trainer)

    def agrees(self, trainer: Trainer) -> bool:
        """Return whether this callback still watches on every rank; to be asked on every rank before a collective.

        A rank that has stopped alone would keep the others waiting for ever.
        """
        together = trainer.strategy.reduce_boolean_decision(self.error is None)
        if not together and self.error is None:
            self.error = RuntimeError("it has stopped on another rank")
            self.on_stop()
        return together

    def on_stop(self) -> None:
        """Drop what would be wrong from here on; called once, after the first error."""


def print_once(trainer: Trainer) -> None:
    """Print the figures of `trainer.validate` or `trainer.test` in place of Lightning's table.

    Lightning prints a column for each loader. A figure of gallery and query together belongs to neither, so it would
    stand there twice, with its name cut at 25 characters. With ``verbose=False`` nothing is printed, as ever.
    """
    loops = {TrainerFn.VALIDATING: trainer.validate_loop, TrainerFn.TESTING: trainer.test_loop}
    loop = None if trainer.state.fn is None else loops.get(trainer.state.fn)
    if loop is None or not loop.verbose or len(loop.max_batches) == 1:
        return
    loop.verbose = False  # Lightning asks after this hook; the next call of `validate` or `test` sets it again
    figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    if trainer.is_global_zero and figures:
        width = max(map(len, figures))
        print("\n".join(f"{name:<{width}}  {value:.6g}" for name, value in figures.items()))
