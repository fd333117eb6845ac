# SPDX-License-Identifier: Apache-2.0
"""Mirror a run in Weights & Biases, which may be out of reach without stopping the run."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from lightning_monocon.runs.files import write_text

if TYPE_CHECKING:
    from wandb.sdk.lib import RunDisabled
    from wandb.wandb_run import Run

_ID = "wandb_id"
_TIMEOUT = 30  # seconds to reach the service; W&B's own 90 would delay a run that does not need it


class MirrorLogger(WandbLogger):
    """Log to Weights & Biases, offline if the service is not reachable, and resume the run of the folder.

    Validation and test metrics are drawn over epochs, everything else over optimizer steps; the step of W&B itself is
    never set. W&B does not choose the best value of a validation metric: `RunReport` writes the summary.

    Args:
        folder: Folder of the run, which keeps the files of W&B and the id of the run.
        mode: ``"online"``, ``"offline"`` (send later with ``wandb sync``) or ``"disabled"`` (nothing is written).
        project: W&B project.
        group: Name of runs that belong together, such as the seeds of a recipe.
        tags: Words by which the run can be found.
        log_model: Whether the best and the last checkpoint become an artifact when the run ends.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        mode: Literal["disabled", "offline", "online"] = "offline",
        project: str = "monocon",
        group: str | None = None,
        tags: Sequence[str] = (),
        log_model: bool = False,
    ) -> None:
        folder = Path(folder)
        # the mode goes to `wandb.init`: Lightning's `offline=True` would set it for the whole process, and refuses
        # `log_model`, although an offline artifact is sent by `wandb sync` like everything else
        super().__init__(
            name=folder.name,
            save_dir=folder,
            id=_run_id(folder),
            project=project,
            group=group,
            tags=list(tags),
            log_model=log_model,
            mode=mode,
        )
        del self._wandb_init["anonymous"]  # W&B prints a warning whatever its value

    @property
    @rank_zero_experiment
    def experiment(self) -> Run | RunDisabled:
        """Return the W&B run, which is started on first use."""
        if self._experiment is None:
            import wandb

            Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
            self._wandb_init.setdefault("settings", wandb.Settings(init_timeout=_timeout()))
            begin: Callable[[WandbLogger], Run | RunDisabled] = WandbLogger.experiment.fget  # type: ignore[attr-defined]
            try:
                run = begin(self)
            except wandb.Error as error:
                rank_zero_warn(
                    f"Weights & Biases is not reachable at {wandb.setup().settings.base_url} ({_first_line(error)}). "
                    f"Training continues, and the run is kept offline in {self._wandb_init['dir']}: send it later with "
                    "`wandb sync`."
                )
                wandb.teardown()  # its service holds the id of the run that failed, and keeps the key
                self._wandb_init["mode"] = "offline"
                run = begin(self)
            run.define_metric("epoch", hidden=True)
            for stage in ("val", "test"):
                run.define_metric(f"{stage}/*", step_metric="epoch", step_sync=True)
        return cast("Run | RunDisabled", self._experiment)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Log the best checkpoint, as any WandbLogger does, and the last one."""
        super().finalize(status)
        last = Path(self._wandb_init["dir"]) / "checkpoints" / "last.ckpt"
        if status == "success" and self._log_model and self._experiment is not None and last.is_file():
            import wandb

            artifact = wandb.Artifact(
                f"model-{self.experiment.id}", type="model", metadata={"original_filename": last.name}
            )
            artifact.add_file(str(last), name="model.ckpt")
            self.experiment.log_artifact(artifact, aliases=["latest", "last"])


@contextmanager
def finishing_runs() -> Iterator[None]:
    """Finish the W&B run that begins inside, with its exit status; a process may train several runs."""
    try:
        yield
    except BaseException:
        _finish(1)
        raise
    _finish(0)


def _finish(status: int) -> None:
    wandb = sys.modules.get("wandb")  # if it was not imported, there is nothing to finish
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=status)


def _run_id(folder: Path) -> str:
    """Return the id that is kept in the folder, or a new one."""
    file = folder / _ID
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    chosen = uuid.uuid4().hex[:8]
    write_text(file, chosen + "\n")
    return chosen


def _timeout() -> float:
    return float(os.environ.get("WANDB_INIT_TIMEOUT", _TIMEOUT))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
