# SPDX-License-Identifier: Apache-2.0
"""Print what was measured, each figure once."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn


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
