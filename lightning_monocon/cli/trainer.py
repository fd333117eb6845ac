# SPDX-License-Identifier: Apache-2.0
"""Run `monocon fit | validate | test | predict`: LightningCLI with recipes by name and one folder a run."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only

from lightning_monocon.callbacks import EmbeddingMetrics, ExactResume, NaNGuard, RunRecord, RunReport, StopSignals
from lightning_monocon.callbacks.best_checkpoint import BestCheckpoint
from lightning_monocon.cli.config import expanded, stop
from lightning_monocon.cli.imports import import_policy
from lightning_monocon.cli.judged import check_judged_checkpoint
from lightning_monocon.cli.loggers import loggers
from lightning_monocon.cli.nulls import check_nulls
from lightning_monocon.cli.output import outliving_output
from lightning_monocon.cli.parser import MonoConParser
from lightning_monocon.cli.predict import check_out, embedding_writer, written
from lightning_monocon.cli.resume import (
    checkpoint_to_resume,
    resumable,
    rolling_checkpoint,
    writing_or_stopping,
)
from lightning_monocon.cli.run_options import SEED, add_run_options
from lightning_monocon.cli.yaml_files import names_a_model, strict_yaml
from lightning_monocon.loggers.wandb import MirrorLogger, finishing_runs
from lightning_monocon.module import MonoCon
from lightning_monocon.runs.checkpoints import DurableCheckpointIO
from lightning_monocon.runs.files import explain, whole
from lightning_monocon.training.quiet_profiler import QuietProfiler
from lightning_monocon.training.schedule import TwoPhaseModule

_PATHS = ("run_dir", "ckpt_path", "resume", "out")


def run(args: Sequence[str], cli: type[MonoConCLI] | None = None) -> MonoConCLI:
    """Run one command of the trainer and return the finished command line, with its trainer, model and data module.

    Exit with status 2 if an option does not exist or its value does not fit.

    Args:
        args: The command and its options.
        cli: The command line; `BuiltCLI` runs nothing.
    """
    # Lightning 2.6.6 calls what torch 2.13 and jsonargparse 4.49 deprecate, which is not the user's to fix
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    policy, rest = import_policy(args)
    with (
        outliving_output(),
        _as_process_arguments(list(args)),
        policy.enforced(),
        strict_yaml(),
        warnings.catch_warnings(),
        finishing_runs(),
    ):
        warnings.filterwarnings("ignore", "LightningCLI's args parameter")  # the process's have the policy's too
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # `RunFolder` watches it
        if args[0] != "fit":  # only a run that is resumed needs the callbacks that wrote the checkpoint
            warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")
        named = names_a_model(rest, policy.remote)
        return (cli or MonoConCLI)(
            TwoPhaseModule if named else MonoCon,
            LightningDataModule,
            parser_class=MonoConParser,
            parser_kwargs={args[0]: {"remote": policy.remote}},
            subclass_mode_model=named,
            subclass_mode_data=True,
            seed_everything_default=SEED,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            args=rest,
        )


@contextmanager
def _as_process_arguments(args: list[str]) -> Iterator[None]:
    """Let LightningCLI read the arguments from the process, as it wishes to; DDP starts its ranks with them too."""
    saved = sys.argv
    sys.argv = [saved[0], *args]
    try:
        yield
    finally:
        sys.argv = saved


class MonoConCLI(LightningCLI):
    """LightningCLI that adds what every run of this package has: a folder, a record, metrics, exact resume."""

    run_dir: Path
    record: RunRecord
    said: set[str]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that are about the run, not about trainer, model or data."""
        add_run_options(parser)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: object) -> LightningArgumentParser:
        """Give the command its own help."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        assert isinstance(parser, MonoConParser)
        parser.of_command(subcommand)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401  # Lightning's signature
        """Parse, and remember what was said on the command line itself."""
        self.said = {str(word).partition("=")[0] for word in args}
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would merge the hyper-parameters of a checkpoint, and import what they name."""

    def before_instantiate_classes(self) -> None:
        """Load checkpoints from this machine only, and never anything but plain values and tensors."""
        options = self.config[str(self.subcommand)]
        check_nulls(self._parser(self.subcommand), options)
        for name in _PATHS:
            options[name] = options[name] and expanded(options[name])
        if "://" in (options.ckpt_path or ""):
            stop(f"`--ckpt_path` must be a local file, got the URL {options.ckpt_path!r}; download and check it first")
        options.weights_only = True
        if self.subcommand == "fit":
            _check_resume(options, self.said)
        else:
            check_judged_checkpoint(str(self.subcommand), options)
        if self.subcommand == "predict":
            if getattr(rank_zero_only, "rank", 0) == 0:  # one process tries it, before the others can be writing
                check_out(options)
            options.return_predictions = False  # a corpus does not fit in memory; the writer has its rows already

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401  # Lightning's signature
        """Add folder, loggers and callbacks to what the configuration asks for."""
        options = self.config[str(self.subcommand)]
        fitting = self.subcommand == "fit"
        self.run_dir = Path(options.run_dir or f"runs/{datetime.now():%Y%m%d-%H%M%S-%f}")
        chosen = self._get(self.config_init, "trainer", default={})
        callbacks: list[Callback] = [*_as_list(chosen.get("callbacks"))]
        # a model of tokens says that its steps return no embeddings to judge
        wanted: list[Callback] = (
            [EmbeddingMetrics(geometry=True)] if getattr(self.model, "has_embeddings", True) else []
        )
        if fitting:
            self.record = RunRecord(str(self.run_dir), resume=bool(options.ckpt_path or options.resume))
            wanted += [
                NaNGuard(options.nan_policy),
                StopSignals(),
                ExactResume(allow_drift=options.allow_drift),
                self.record,
            ]
            wanted += self._checkpoints() if chosen.get("enable_checkpointing") is not False else []
            wanted += [RunReport(str(self.run_dir))] if options.report else []
        elif self.subcommand == "predict":
            wanted = [embedding_writer(options)]
        callbacks += [callback for callback in wanted if not any(isinstance(c, type(callback)) for c in callbacks)]
        if chosen.get("profiler") is None and not chosen.get("barebones"):
            kwargs["profiler"] = QuietProfiler()
        kwargs["plugins"] = [*_as_list(chosen.get("plugins")), DurableCheckpointIO()]
        if fitting:
            kwargs |= {"logger": self._loggers(chosen), "default_root_dir": str(self.run_dir)}
        else:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        trainer = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        _check_launcher(trainer.strategy.launcher)
        return trainer

    def before_fit(self) -> None:
        """Claim the run's folder for a trainer that fits the model, and find the checkpoint to resume from."""
        self.model.check_trainer(self.trainer)
        options = self.config_init["fit"]
        if getattr(rank_zero_only, "rank", 0) == 0:
            with writing_or_stopping():
                self.record.folder.claim(self.record.resume)
        if options.resume is not None:
            found = checkpoint_to_resume(self.record.folder, options.resume)
            options.ckpt_path = None if found is None else str(found)

    def fit(self, **kwargs: Any) -> None:  # noqa: ANN401  # Lightning hands its arguments over
        """Train, and print where the run is; whatever stops the training, print the command that resumes it."""
        try:
            with resumable(self.trainer, self.run_dir):
                self.trainer.fit(**kwargs)
        finally:
            self.record.folder.release()
        if self.trainer.is_global_zero:
            print(_finished(self.run_dir, self.trainer))

    def after_predict(self) -> None:
        """Print what was written, when every rank has written its share."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            print(written(self.trainer.callbacks))  # type: ignore[attr-defined]  # Lightning sets it untyped

    def _checkpoints(self) -> list[Callback]:
        """Keep the last checkpoints, those of the warm-up included, and the best by validation."""
        options, folder = self.config[str(self.subcommand)], self.record.folder.checkpoints
        last = rolling_checkpoint(
            folder, options.keep, options.keep_gb, options.save_every_n_steps, options.save_every_n_seconds
        )
        # data without classes name the metric that finds their best, or None
        monitor = getattr(self.datamodule, "monitor", "val/knn_accuracy")
        return [last] if monitor is None else [last, BestCheckpoint(str(folder), monitor)]

    def _loggers(self, chosen: dict[str, Any]) -> list[Logger]:
        if chosen.get("logger") is False or chosen.get("fast_dev_run"):
            return []
        asked = [logger for logger in _as_list(chosen.get("logger")) if isinstance(logger, Logger)]
        return loggers(asked, self.config[str(self.subcommand)], self.run_dir)


class BuiltCLI(MonoConCLI):
    """Build trainer, model and data as a run would, and run nothing: a value that one of them refuses is an error."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


class SaveRunConfig(SaveConfigCallback):
    """Save the whole configuration in the run's folder; a resumed run leaves its own beside the first."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``, or ``config-<n>.yaml`` on resume."""
        if stage != "fit":
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        names = chain(["config.yaml"], (f"config-{n}.yaml" for n in count(1)))
        path = next(folder / name for name in names if not (folder / name).exists())
        try:
            with whole(path) as file:  # half a configuration could not be resumed with
                self.parser.save(self.config, os.fspath(file), skip_none=False)
        except OSError as error:
            raise explain(error, path) from error
        for logger in trainer.loggers:
            if isinstance(logger, MirrorLogger):
                logger.log_hyperparams({"recipe": yaml.safe_load(path.read_text(encoding="utf-8"))})


def _check_resume(options: Namespace, said: Collection[str]) -> None:
    """Check that the run has one place to begin from; the command line overrides a file, such as an earlier run's.

    Raises:
        SystemExit: With status 2 if it has two, or lacks the folder to look in.
    """
    if options.resume is not None and options.ckpt_path is not None:
        if ("--resume" in said) == ("--ckpt_path" in said):
            stop("`--resume` and `--ckpt_path` both name a checkpoint; give one of them")
        options["ckpt_path" if "--resume" in said else "resume"] = None
    if options.resume is not None and options.run_dir is None:
        stop("`--resume` must be given with the run's folder: --run-dir")


def _as_list(value: object) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_launcher(launcher: object) -> None:
    """Exit unless each process of several would run the command by itself: one that is copied has locks and parsers."""
    if isinstance(launcher, _MultiProcessingLauncher):
        stop(
            f"`--trainer.strategy` must start a command for each device; got one that copies this process "
            f"({launcher._start_method}). Use ddp."
        )


def _finished(folder: Path, trainer: Trainer) -> str:
    """Return the sentence that ends a run: its last validation, where there was one, and its folder."""
    judged = ("val/knn_accuracy", "val/ndcg_at_10", "val/spearman", "val/loss")
    figures = [f"{name} {trainer.callback_metrics[name]:.4g}" for name in judged if name in trainer.callback_metrics]
    written = [name for name in ("scorecard.json", "record.jsonl", "checkpoints") if (folder / name).exists()]
    last = f"Last validation: {', '.join(figures)}. " if figures else ""
    return f"{last}The run is in {folder}: {', '.join(written)}." if written else f"{last}The run kept nothing."
