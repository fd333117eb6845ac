# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with loaders: processes that die, and data sets that give no batch."""

from __future__ import annotations

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader


def dead_worker(error: BaseException) -> str | None:
    """Return a sentence if ``error`` came of a loader's process that raised or was killed, else ``None``.

    Example:
        >>> dead_worker(RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed."))
        'a data worker died (often out of memory); lower num_workers or batch size. It was killed.'
        >>> dead_worker(RuntimeError("loss is not finite"))
    """
    text = str(error)
    if "DataLoader worker" not in text and not isinstance(error, ConnectionResetError | EOFError | BrokenPipeError):
        return None
    advice = "a data worker died (often out of memory); lower num_workers or batch size."
    if "Caught " in text:  # torch's report of what the worker raised, its traceback included
        return f"{advice} It raised {text.strip().splitlines()[-1]}"
    return f"{advice} It was killed."


def require_batches(trainer: Trainer) -> None:
    """See that the train loader gives at least one batch.

    Raises:
        ValueError: If the data set is smaller than one batch and the last short batch is dropped: Lightning would make
            no step and call that success.
    """
    if trainer.num_training_batches or not trainer.limit_train_batches:
        return
    loader: object = trainer.train_dataloader
    for part in loader if isinstance(loader, list | tuple) else [loader]:
        if isinstance(part, DataLoader) and len(part) == 0:
            size, batch = len(part.dataset), part.batch_size  # type: ignore[arg-type]  # a loader of known length
            raise ValueError(
                f"`batch_size` must not exceed the data set where the last short batch is dropped; got batches of "
                f"{batch} from {size} samples{_ranks(trainer)}, which makes none. Lower it, or set drop_last=False."
            )
    raise ValueError("the train loader must give at least one batch, and gives none; look at its data set and sampler.")


def _ranks(trainer: Trainer) -> str:
    return f" shared by {trainer.world_size} ranks" if trainer.world_size > 1 else ""
