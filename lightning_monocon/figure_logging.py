# SPDX-License-Identifier: Apache-2.0
"""One adapter for what loggers do not agree on: figures and the summary of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_monocon.runs import RecordLogger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@rank_zero_only
def log_figure(logger: Logger, name: str, figure: Figure) -> None:
    """Hand a figure to a logger; one that cannot take it is passed over.

    Args:
        logger: W&B and TensorBoard take the image, CSV a PNG in its folder.
        name: Key or file name, such as ``"spectrum"``.
        figure: The figure.
    """
    if isinstance(logger, WandbLogger):
        import wandb

        logger.experiment.log({f"figures/{name}": wandb.Image(figure)})
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(f"figures/{name}", figure, close=False)
    elif isinstance(logger, CSVLogger):
        folder = Path(logger.log_dir) / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png")


@rank_zero_only
def log_summary(logger: Logger, values: Mapping[str, object]) -> None:
    """Hand a run's final figures to a logger: W&B's summary, TensorBoard's hyper-parameters, the record.

    Args:
        logger: Any logger; one that has no place for them is passed over.
        values: Numbers and words by name.
    """
    if isinstance(logger, WandbLogger):
        logger.experiment.summary.update(dict(values))
    elif isinstance(logger, RecordLogger):
        logger.log_event("scorecard", **values)
