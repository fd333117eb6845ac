# SPDX-License-Identifier: Apache-2.0
"""Files from strangers: nothing in them runs, nothing they name is imported, nothing is downloaded."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import lightning.pytorch as L
import torch

from lightning_monocon import MonoCon
from lightning_monocon.cli.trainer import run
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from reliability.hostile import GADGETS, POISONS, YAML, checkpoint_content, refused, trap
from reliability.outcome import Campaign, Outcome

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.max_epochs=11"]


def fit(folder: Path, checkpoint: str) -> None:
    """Go on from a checkpoint by the command."""
    run(["fit", "--config", "digits", "--run_dir", str(folder / "run"), "--ckpt_path", checkpoint, *QUIET])


def load(folder: Path, checkpoint: str) -> None:
    """Load a model for use."""
    MonoCon.load_from_checkpoint(checkpoint)


def fit_in_a_script(folder: Path, checkpoint: str) -> None:
    """Go on from a checkpoint with a Trainer, as a script does that knows nothing of the command's care."""
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(MonoCon(SmallCNN(), warmup_epochs=0), datamodule=DigitsData(), ckpt_path=checkpoint)


def gadgets(trials: int, folder: Path) -> Outcome:
    """Hand over checkpoints that hold calls: each gadget, from the disk and by http, to each reader."""
    cases = list(itertools.product([load, fit, fit_in_a_script], ["local", "http"], GADGETS))
    wrong = 0
    for trial in range(trials):
        reader, route, gadget = cases[trial * 7 % len(cases)]  # 7 has no factor in common: every case in turn
        with trap(folder / str(trial)) as (planted, port):
            file = planted.checkpoint(gadget)
            place = str(file) if route == "local" else planted.url(port, file)
            stopped = refused(lambda reader=reader, home=folder / str(trial), place=place: reader(home, place))
            wrong += planted.sprung or not stopped
    note = "each of 6 gadgets x disk, http x load, fit by the command, fit in a script"
    return Outcome("pickle gadget in a checkpoint", trials, 0, wrong, note)


def poisoned(trials: int, folder: Path) -> Outcome:
    """Hand over whole checkpoints that name a stranger's module where hyper-parameters or the encoder's name are."""
    wrong, plain = 0, checkpoint_content()
    for trial in range(trials):
        poison = POISONS[trial % len(POISONS)]
        content = copy.deepcopy(plain)
        poison(content)
        with trap(folder / str(trial)) as (planted, _):
            path = planted.folder / "poisoned.ckpt"
            torch.save(content, path)
            for reader in (load, tested):
                refused(lambda reader=reader, home=planted.folder, path=path: reader(home, str(path)))
            wrong += planted.sprung
    return Outcome("poisoned hyper-parameters", trials, 0, wrong, "load and `monocon test`; 0 imports")


def tested(folder: Path, checkpoint: str) -> None:
    """Test a checkpoint by the command."""
    run(["test", "--config", "digits", "--ckpt_path", checkpoint, *QUIET, "--trainer.limit_test_batches=1"])


def yaml_payloads(trials: int, folder: Path) -> Outcome:
    """Hand over YAML files that name a stranger's code, under ``--strict-imports``."""
    wrong = 0
    for trial in range(trials):
        text = list(YAML.values())[trial % len(YAML)]
        with trap(folder / str(trial)) as (planted, _):
            words = ["fit", "--config", "digits", "--config", str(planted.yaml(text)), "--strict-imports", *QUIET]
            stopped = refused(lambda words=words, home=planted.folder: run([*words, "--run_dir", str(home / "run")]))
            wrong += planted.sprung or not stopped
    return Outcome("YAML that names a stranger's code", trials, 0, wrong, "--strict-imports; 0 executions, 0 imports")


CAMPAIGNS = {
    "pickle_gadgets": Campaign(gadgets, 9, 36),
    "poisoned_hyperparameters": Campaign(poisoned, 4, 4),
    "yaml_payloads": Campaign(yaml_payloads, len(YAML), len(YAML)),
}
