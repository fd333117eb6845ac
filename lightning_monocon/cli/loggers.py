# SPDX-License-Identifier: Apache-2.0
"""Choose the loggers of `monocon fit`: those of the configuration, and Weights & Biases as a mirror."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lightning_monocon.loggers.wandb import MirrorLogger


def loggers(asked: Sequence[Logger], options: Namespace, run_dir: Path) -> list[Logger]:
    """Return the loggers of a run: those of the configuration, or a CSV logger in the run's folder."""
    # a version per resume: CSVLogger deletes what it finds
    chosen: list[Logger] = list(asked) or [CSVLogger(run_dir, name="csv")]
    if options.wandb != "off" and not any(isinstance(logger, WandbLogger) for logger in chosen):
        chosen.append(
            MirrorLogger(
                run_dir,
                mode=options.wandb,
                project=options.wandb_project,
                group=options.wandb_group or _recipe(options),
                tags=[*_tags(options), *options.wandb_tags],
                log_model=options.wandb_model,
            )
        )
    return chosen


def _recipe(options: Namespace) -> str | None:
    """Return the name of the first configuration file."""
    files = options.get("config") or []
    return Path(str(files[0])).stem if files else None


def _tags(options: Namespace) -> list[str]:
    """Return the arm and the class names of encoder and data."""
    found = [options.get("model.head"), options.get("model.encoder"), options.get("data")]
    words = [part if isinstance(part, str) else getattr(part, "class_path", None) for part in found]
    return [str(word).rpartition(".")[2] for word in words if word]
