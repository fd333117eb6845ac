# SPDX-License-Identifier: Apache-2.0
"""Train one run of a comparison: an arm, a seed, a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from lightning_monocon.cli.compared_arms import parse_arm
from lightning_monocon.runs import files

if TYPE_CHECKING:
    from lightning_monocon.cli.trainer import MonoConCLI
    from lightning_monocon.data.corrupted import CorruptibleData

_STARTED = "started.json"
"""This file is written before the first step of a run: the folder belongs to this comparison."""
_SPEC = "spec.json"
"""This file is written after the last step: the run is finished."""
_LOG = "log.txt"
ROBUSTNESS = "robustness.json"
"""What corrupted queries find, if it was asked for; a finished run without it is taken up again and adds it."""
CERTIFICATES = "certificates.json"
"""Which answers are proved, likewise."""
_LAYOUT = 2
"""Version of the files that a run leaves; since 2 the embeddings of the best checkpoint are among them."""


class PooledRun(Protocol):
    """Describe a run that a pool of processes trains, and whose progress a bar shows."""

    @property
    def folder(self) -> Path:
        """Return the run's own folder."""
        ...

    @property
    def finished(self) -> bool:
        """Return whether the folder holds this run, finished; raise ValueError if it holds another."""
        ...

    @property
    def unit(self) -> str:
        """Return what the bar counts: ``"epoch"`` or ``"step"``."""
        ...

    @property
    def length(self) -> int:
        """Return how many of them the run is trained for at most."""
        ...

    @property
    def done(self) -> int:
        """Return how many of them are done."""
        ...

    def train(self) -> None:
        """Train the run."""


@dataclass(frozen=True)
class ArmRun:
    """Describe what one process of a comparison trains.

    Attributes:
        arm: One of `lightning_monocon.cli.compared_arms.ARMS`.
        seed: The seed of weights, order and augmentation.
        recipe: The recipe's file.
        overrides: Further options of `monocon fit`.
        out: The comparison's folder.
        config: The whole configuration that `monocon fit` makes of recipe and options.
        robustness: Whether corrupted queries are to be answered as well.
        certify: Changes of the features, in their deviations, against which answers are to be proved.
    """

    arm: str
    seed: int
    recipe: Path
    overrides: tuple[str, ...]
    out: Path
    config: Mapping[str, Any] = field(repr=False)
    robustness: bool = False
    certify: tuple[float, ...] = ()

    @property
    def folder(self) -> Path:
        """Return the run's own folder."""
        return self.out / "runs" / f"{self.arm}-seed{self.seed}"

    @property
    def finished(self) -> bool:
        """Return whether the folder holds this run, finished.

        Raises:
            ValueError: If it holds a run of other settings, or anything that `monocon compare` did not write.
        """
        begun = self._stored(_STARTED)
        try:
            finished = self._stored(_SPEC)
        except ValueError:
            if begun != self._spec():
                raise
            warnings.warn(
                f"{str(self.folder / _SPEC)!r} is damaged; the run is resumed and writes it again.", stacklevel=2
            )
            return False
        if finished is None and begun is None:
            self._refuse_what_is_not_ours()
        elif (finished or begun) != self._spec() and (finished or self._was_trained):
            raise ValueError(
                f"`--out` must hold runs of the same recipe, options and version; {str(self.folder)!r} was trained "
                "with others. Choose another folder."
            )
        return finished is not None and self._has_what_was_asked

    @property
    def _has_what_was_asked(self) -> bool:
        proved = self._stored(CERTIFICATES) if self.certify else None
        corrupted = not self.robustness or (self.folder / ROBUSTNESS).is_file()
        return corrupted and (not self.certify or (proved is not None and tuple(proved["eps"]) == self.certify))

    @property
    def _was_trained(self) -> bool:
        return epochs_done(self.folder) > 0 or any((self.folder / "checkpoints").glob("*.ckpt"))

    def _stored(self, name: str) -> dict[str, Any] | None:
        """Return the settings in a file of the folder, or ``None`` if there is no such file."""
        file = self.folder / name
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"it holds a {type(content).__name__}")
        except ValueError as error:
            raise ValueError(
                f"{str(file)!r} must hold the settings of a run as JSON, and is damaged ({file.stat().st_size} bytes; "
                f"{error}). Move {str(self.folder)!r} away to train this run again, or choose another --out."
            ) from error
        return content

    def _refuse_what_is_not_ours(self) -> None:
        """Check that the folder is missing or empty, but for what a kill leaves while its first file is written."""
        if not self.folder.exists():
            return
        started = self.folder / _STARTED
        ours = {files.sidecar(started), *files.leftovers(self.folder)}
        foreign = sorted(path.name for path in self.folder.iterdir() if path not in ours)
        if foreign:
            raise ValueError(
                f"`--out` must have no other folders where its runs go; {str(self.folder)!r} holds {foreign[0]!r} and "
                f"no {_STARTED!r}, so `monocon compare` did not make it. Move it away, or choose another --out."
            )

    @property
    def epochs(self) -> int:
        """Return how many epochs the run is trained for.

        Every arm gets the same number of joint epochs; the encoder alone has no head to warm up.
        """
        warmup = self.config["model"]["warmup_epochs"] if parse_arm(self.arm).head == "none" else 0
        return int(self.config["trainer"]["max_epochs"] - warmup)

    @property
    def unit(self) -> str:
        """Return what the bar counts."""
        return "epoch"

    @property
    def length(self) -> int:
        """Return how many epochs the run is trained for."""
        return self.epochs

    @property
    def done(self) -> int:
        """Return how many epochs are done."""
        return epochs_done(self.folder)

    def arguments(self) -> list[str]:
        """Return the words after ``monocon``."""
        arm = parse_arm(self.arm)
        words = ["fit", "--config", str(self.recipe), "--seed_everything", str(self.seed), *self.overrides]
        words += arm.words(self.config["model"]["head_options"] or {})
        if arm.head == "none":
            words += ["--model.warmup_epochs", "0", "--trainer.max_epochs", str(self.epochs)]
        return [*words, "--run-dir", str(self.folder), "--report", "false", *QUIET]

    def _spec(self) -> dict[str, Any]:
        return {
            "arm": self.arm,
            "seed": self.seed,
            "recipe": hashlib.sha256(self.recipe.read_bytes()).hexdigest(),
            "overrides": list(self.overrides),
            "out": None,
            "version": version("lightning-monocon"),
            "layout": _LAYOUT,
        }

    def train(self) -> None:
        """Train, then embed gallery and test queries and write both; all output goes to the folder's log.

        A run that was stopped is resumed from its newest checkpoint; nothing in its folder is deleted.
        """
        settings = json.dumps(self._spec(), indent=1).encode()
        files.write(self.folder / _STARTED, settings)
        with into_log(self.folder / _LOG):
            try:
                _train(self)
            except BaseException:
                traceback.print_exc()
                raise
        files.write(self.folder / _SPEC, settings)


QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]


def _train(run: ArmRun) -> None:
    import torch

    from lightning_monocon.cli.run_embeddings import certified, corrupted, embedded
    from lightning_monocon.cli.trainer import run as run_command
    from lightning_monocon.runs.record import RECORD
    from lightning_monocon.scorecard.certificates import save_certificates
    from lightning_monocon.scorecard.runs import EMBEDDINGS

    torch.set_num_threads(1)  # the comparison runs one process per core
    resume = ["--resume", "auto"] if (run.folder / RECORD).exists() else []
    cli = run_command([*run.arguments(), *resume])
    found = replace(
        embedded(cli.model, cli.datamodule),
        arm=run.arm,
        seed=run.seed,
        reading="prefix" if parse_arm(run.arm).nested else "pca",
    )
    found.save(run.folder / EMBEDDINGS["last"])
    if run.robustness:
        corrupted(cli.model, cast("CorruptibleData", cli.datamodule), found).save(run.folder / ROBUSTNESS)
    if run.certify:
        save_certificates(certified(cli.model, cli.datamodule, run.certify), run.certify, run.folder / CERTIFICATES)
    if best := _best_checkpoint(cli):
        from lightning_monocon.runs.checkpoints import read_checkpoint

        last = {name: value.clone() for name, value in cli.model.state_dict().items()}
        cli.model.load_state_dict(read_checkpoint(best)["state_dict"])
        if any(not torch.equal(value, last[name]) for name, value in cli.model.state_dict().items()):
            found = replace(embedded(cli.model, cli.datamodule), arm=run.arm, seed=run.seed, reading=found.reading)
        replace(found, stage="best").save(run.folder / EMBEDDINGS["best"])


def _best_checkpoint(cli: MonoConCLI) -> str:
    """Return the file of the best epoch by validation, or an empty text if none was kept."""
    callbacks = cli.trainer.checkpoint_callbacks
    paths = [getattr(each, "best_model_path", "") for each in callbacks if getattr(each, "monitor", None)]
    return next((str(path) for path in paths if path), "")


@contextlib.contextmanager
def into_log(path: Path) -> Iterator[None]:
    """Send what this process prints and warns to a file."""
    with path.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        handler = logging.StreamHandler(log)
        loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
        saved = [(logger.handlers, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                yield
        finally:
            for logger, (handlers, propagate) in zip(loggers, saved, strict=True):
                logger.handlers, logger.propagate = handlers, propagate


def epochs_done(folder: Path) -> int:
    """Return how many epochs the record of a running or finished run shows; a resumed one may hold an epoch twice."""
    from lightning_monocon.runs.record import RECORD, read_history

    return len(read_history(folder / RECORD).values.get("train/loss", {}))


def last_step(folder: Path) -> int:
    """Return the last step that the record of a running or finished run shows."""
    from lightning_monocon.runs.record import RECORD, read_last_step

    return read_last_step(folder / RECORD)


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_stopping: Event | None = None
"""Set in a worker of a comparison, once no further run is to begin."""


def start_worker(stopping: Event) -> None:
    """Prepare a worker process of a comparison."""
    global _stopping
    _stopping = stopping
    _end_with_parent()


def train_unless_stopping(run: PooledRun) -> None:
    """Train a run, unless the comparison was stopped while it waited: a pool hands out one more than it has workers."""
    if _stopping is None:
        run.train()
    elif not _stopping.is_set():
        try:
            run.train()
        except (KeyboardInterrupt, SystemExit):
            _stopping.set()  # the signal may reach this process first, and the next run waits here already
            raise


def _end_with_parent() -> None:
    """End this worker when the comparison is killed: it would train on in a folder that the next comparison uses."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
