# SPDX-License-Identifier: Apache-2.0
"""Recognise faults of loaders: processes that die, and data sets that give no batch."""

from __future__ import annotations

from types import FrameType

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

_ADVICE = "a data worker died (often out of memory); lower num_workers or batch size."
_CUT_OFF = (ConnectionResetError, BrokenPipeError, EOFError)


def dead_worker(error: BaseException) -> str | None:
    """Return a sentence if ``error`` was caused by a loader's process that raised or was killed, else ``None``.

    An error that was raised while that one was handled counts too: Lightning's clean-up can fail without the loader.

    Example:
        >>> dead_worker(RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed."))
        'a data worker died (often out of memory); lower num_workers or batch size. It was killed.'
        >>> dead_worker(RuntimeError("loss is not finite"))
    """
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if "in DataLoader worker process" in text:  # torch's report of what the worker raised, its traceback included
            return f"{_ADVICE} It raised {text.strip().splitlines()[-1]}"
        if "DataLoader worker" in text or (isinstance(cause, _CUT_OFF) and _is_of_a_loader(cause)):
            return f"{_ADVICE} It was killed."
        cause = cause.__context__
    return None


def is_in_a_loader(frame: FrameType | None) -> bool:
    """Return whether the main process is fetching a batch, by its frames; ending a loader is not fetching."""
    fetching = False
    while frame is not None:
        if _is_of_torch(frame):
            if frame.f_code.co_name in ("__del__", "_shutdown_workers"):
                return False
            fetching |= frame.f_code.co_name == "__next__"
        frame = frame.f_back
    return fetching


def _is_of_a_loader(error: BaseException) -> bool:
    place = error.__traceback__
    while place is not None:
        if _is_of_torch(place.tb_frame):
            return True
        place = place.tb_next
    return False


def _is_of_torch(frame: FrameType) -> bool:
    return "torch/utils/data" in frame.f_code.co_filename.replace("\\", "/")


def require_batches(trainer: Trainer) -> None:
    """Check that the train loader gives at least one batch.

    Raises:
        ValueError: If the data set is smaller than one batch and the last short batch is dropped: Lightning would make
            no step and report success.
    """
    if trainer.num_training_batches or not trainer.limit_train_batches:
        return
    loader: object = trainer.train_dataloader
    for part in loader if isinstance(loader, list | tuple) else [loader]:
        if isinstance(part, DataLoader) and len(part) == 0:
            size, batch = len(part.dataset), part.batch_size  # type: ignore[arg-type]  # a loader of known length
            raise ValueError(
                f"`batch_size` must not exceed the data set if the last short batch is dropped; got batches of "
                f"{batch} from {size} samples{_ranks(trainer)}, which makes none. Lower it, or set drop_last=False."
            )
    raise ValueError("The train loader must give at least one batch; got none. Check its data set and sampler.")


def _ranks(trainer: Trainer) -> str:
    return f" shared by {trainer.world_size} ranks" if trainer.world_size > 1 else ""
