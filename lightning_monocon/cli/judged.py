# SPDX-License-Identifier: Apache-2.0
"""Choose the weights that `monocon validate | test | predict` take, and say which they are."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

from lightning_monocon.cli.config import stop


def check_judged_checkpoint(command: str, options: Namespace) -> None:
    """Check that there is a checkpoint, unless untrained weights are asked for, and say which weights are taken.

    Exit with status 2 if there is neither, both, or no such file.
    """
    chosen = options.ckpt_path
    if chosen is None and not options.untrained:
        stop(
            f"`monocon {command}` needs a trained model: give its checkpoint, {_example(options.run_dir)}, or ask for "
            "the weights that the recipe starts from: --untrained"
        )
    if chosen is None:
        rank_zero_info("Untrained weights are taken, as --untrained asks.")
        return
    if options.untrained:
        stop(f"`--untrained` and `--ckpt_path` exclude each other; got the checkpoint {str(chosen)!r}. Leave one out")
    if not Path(chosen).is_file():
        stop(f"`--ckpt_path` must be an existing checkpoint, got {str(chosen)!r}")
    rank_zero_info(f"The weights of {str(chosen)!r} are taken.")


def _example(run_dir: str | None) -> str:
    """Return the option as it should be given, with the run's own folder where the configuration names one."""
    return f"--ckpt_path {Path(run_dir or 'RUN') / 'checkpoints' / 'last.ckpt'}"
