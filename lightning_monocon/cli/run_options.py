# SPDX-License-Identifier: Apache-2.0
"""Define the options that `monocon fit | validate | test | predict` have beside those of trainer, model and data."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser

from lightning_monocon.runs.choices import NanPolicy, WandbMode

RECIPE, RUN, SAVING, WANDB, OUTPUT, CHECKPOINT = (
    "the recipe",
    "the run",
    "saving and resuming",
    "Weights & Biases",
    "what is written",
    "the checkpoint",
)
CONFIG = (
    "A packaged recipe's name (`monocon recipes` lists them) or a YAML file; given twice, the second changes the first."
)
SEED = 0


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options, in groups by subject.

    Every command takes them all, since it may be given the ``config.yaml`` of a run; its help has its own.
    """
    _add_run(parser)
    _add_saving(parser)
    _add_wandb(parser)
    parser.add_argument_group(CHECKPOINT).add_argument(
        "--untrained",
        type=bool,
        nargs="?",
        const=True,
        default=False,
        help="Take untrained weights, as the recipe starts from them.",
    )
    _add_output(parser)


def _add_run(parser: ArgumentParser) -> None:
    """Add the options of the run itself."""
    run = parser.add_argument_group(RUN)
    run.add_argument("--run-dir", type=str, default=None, help="The run's own folder (default: runs/<date and time>).")
    run.add_argument("--report", type=bool, default=True, help="Write scorecard and figures when the run ends.")
    run.add_argument(
        "--nan-policy", type=NanPolicy, default="raise", help="At a step with NaN or infinity: raise, or skip it."
    )


def _add_saving(parser: ArgumentParser) -> None:
    """Add the options on saving and resuming a run."""
    group = parser.add_argument_group(SAVING)
    group.add_argument(
        "--resume",
        type=str,
        default=None,
        help="'auto' resumes from the newest whole checkpoint in --run-dir, or starts there; or give a checkpoint.",
    )
    group.add_argument(
        "--allow-drift", type=bool, default=False, help="Resume although settings differ from the checkpoint's."
    )
    group.add_argument("--keep", type=int, default=2, help="Number of last checkpoints to keep.")
    group.add_argument(
        "--keep-gb", type=float | None, default=None, help="Limit on their total size; the newest is always kept."
    )
    group.add_argument(
        "--save-every-n-steps", type=int | None, default=None, help="Steps between checkpoints, instead of seconds."
    )
    group.add_argument(
        "--save-every-n-seconds",
        type=float,
        default=10.0,
        help="Seconds between checkpoints, or 100 times as long as one takes, whichever is more.",
    )


def _add_wandb(parser: ArgumentParser) -> None:
    """Add the options of Weights & Biases; a recipe may set them like any other key."""
    group = parser.add_argument_group(WANDB)
    group.add_argument(
        "--wandb",
        type=WandbMode,
        default="off",
        help="Mirror the run to Weights & Biases: online, offline (send later), disabled (as W&B's mode) or off.",
    )
    group.add_argument("--wandb-project", type=str, default="monocon", help="W&B project.")
    group.add_argument("--wandb-group", type=str, default=None, help="W&B group (default: the name of the recipe).")
    group.add_argument(
        "--wandb-tags", type=list[str], default=[], help="W&B tags beside those of arm, encoder and data."
    )
    group.add_argument(
        "--wandb-model", type=bool, default=False, help="Log the best and the last checkpoint as an artifact."
    )


def _add_output(parser: ArgumentParser) -> None:
    """Add the options of `predict`."""
    group = parser.add_argument_group(OUTPUT)
    group.add_argument(
        "--out",
        type=str,
        default="embeddings",
        help="A folder of shards, which is resumed after a kill; or one FILE.safetensors of gallery and query.",
    )
    group.add_argument("--shard-rows", type=int, default=65_536, help="Rows of a shard.")
    group.add_argument(
        "--shard-kind", type=Literal["safetensors", "parquet"], default="safetensors", help="File format of the shards."
    )
