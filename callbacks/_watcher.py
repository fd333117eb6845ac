# SPDX-License-Identifier: Apache-2.0
"""Provide the base of callbacks that only watch: they never change training, and their errors never end a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar, cast, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.inference.outputs import monitored

OnError = Literal["warn", "raise"]
P = ParamSpec("P")
W = TypeVar("W", bound="Watcher")


def harmless(hook: Callable[Concatenate[W, P], None]) -> Callable[Concatenate[W, P], None]:
    """Decorate a hook of a `Watcher`: after an error, this hook and all others do nothing."""

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
                f"{type(self).__name__} stops watching and the run continues: {type(error).__name__}: {error} "
                "(on_error='raise' would have stopped the run.)",
                stacklevel=2,
            )

    return cast("Callable[Concatenate[W, P], None]", guarded)


class Watcher(Callback):
    """Watch a run by hooks, decorated with `harmless`, that stop at their first error with one warning.

    A hook uses the module within `lightning_monocon.inference.embed.untouched`, which restores the mode of each
    submodule and the random states of Python, NumPy, torch and the device.

    Args:
        on_error: ``"warn"`` continues without this callback after an error, ``"raise"`` lets the error end the run.

    Raises:
        ValueError: If ``on_error`` is neither.
    """

    def __init__(self, on_error: OnError = "warn") -> None:
        check_choice("on_error", on_error, get_args(OnError))
        self.on_error = on_error
        self.error: Exception | None = None
        """The error that made the callback stop watching."""
        self._logged: set[str] = set()
        self._warned: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch again, whatever happened in an earlier run."""
        self.error = None
        self._logged, self._warned = set(), set()

    def log_figures(self, pl_module: LightningModule, figures: Mapping[str, Tensor | float]) -> None:
        """Log figures that are equal on all ranks; every rank must call it.

        NaN stands for a figure that cannot be computed, and is left out. It is logged, though, if the name was logged
        before or is monitored, so that a monitor neither misses it nor takes an old value for it. If that ends the
        run, since `EarlyStopping` stops at NaN, a warning says so.
        """
        wanted = self._logged | monitored(pl_module)
        found = {name: value for name, value in figures.items() if name in wanted or not math.isnan(float(value))}
        self._logged |= found.keys()
        pl_module.log_dict(found, sync_dist=True)  # averages equal values
        self._warn_before_a_stop(pl_module, {name for name, value in found.items() if math.isnan(float(value))})

    def _warn_before_a_stop(self, pl_module: LightningModule, unknown: set[str]) -> None:
        """Warn, once for each figure, that early stopping ends the run because the figure is NaN."""
        if pl_module.trainer.state.fn != TrainerFn.FITTING:
            return
        stopping = {
            callback.monitor
            for callback in pl_module.trainer.callbacks  # type: ignore[attr-defined]  # Lightning's annotations hide it
            if isinstance(callback, EarlyStopping) and callback.check_finite
        }
        for name in sorted(unknown & stopping - self._warned):
            self._warned.add(name)
            warnings.warn(
                f"EarlyStopping ends the run now: it monitors {name!r}, which {type(self).__name__} cannot compute "
                "(another warning says why). Monitor another figure, or pass EarlyStopping(..., check_finite=False).",
                stacklevel=2,
            )

    @harmless
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the figures of `trainer.validate`, each once."""
        print_once(trainer)

    @harmless
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the figures of `trainer.test`, each once."""
        print_once(trainer)

    def agrees(self, trainer: Trainer) -> bool:
        """Return whether this callback still watches on every rank; every rank must call it before a collective.

        A rank that has stopped alone would keep the others waiting forever.
        """
        together = trainer.strategy.reduce_boolean_decision(self.error is None)
        if not together and self.error is None:
            self.error = RuntimeError("it has stopped on another rank")
            self.on_stop()
        return together

    def on_stop(self) -> None:
        """Drop state that is wrong from here on; called once, after the first error."""


def print_once(trainer: Trainer) -> None:
    """Print the figures of `trainer.validate` or `trainer.test` in place of Lightning's table.

    Lightning prints a column for each loader. A figure of gallery and query together belongs to neither, so it would
    appear twice, with its name cut at 25 characters. With ``verbose=False`` nothing is printed, as usual.
    """
    loops = {TrainerFn.VALIDATING: trainer.validate_loop, TrainerFn.TESTING: trainer.test_loop}
    loop = None if trainer.state.fn is None else loops.get(trainer.state.fn)
    if loop is None or not loop.verbose or len(loop.max_batches) == 1:
        return
    loop.verbose = False  # Lightning reads it after this hook; the next call of `validate` or `test` sets it again
    figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    if trainer.is_global_zero and figures:
        width = max(map(len, figures))
        print("\n".join(f"{name:<{width}}  {value:.6g}" for name, value in figures.items()))
