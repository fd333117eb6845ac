# SPDX-License-Identifier: Apache-2.0
"""Encoders by name and plain arguments, where a user names them."""

from pathlib import Path

import pytest
import torch

from lightning_monocon.cli.trainer import run
from lightning_monocon.encoders import ResNet

QUIET = ["--trainer.fast_dev_run=true", "--trainer.enable_model_summary=false"]


@pytest.mark.parametrize(
    ("words", "width"),
    [
        (["--model.encoder=torch.nn.Flatten", "--model.in_features=64"], 64),
        (
            [
                "--model.encoder=lightning_monocon.encoders.ResNet",
                "--model.encoder.stem=small",
                "--model.encoder.depths=[1,1]",
                "--model.encoder.widths=[4,6]",
                "--model.encoder.in_channels=1",
            ],
            6,
        ),
    ],
    ids=["the user's", "ResNet"],
)
def test_an_encoder_by_class_path(words: list[str], width: int, tmp_path: Path) -> None:
    config = tmp_path / "recipe.yaml"
    config.write_text(
        "data: {class_path: lightning_monocon.data.DigitsData, init_args: {batch_size: 64}}\n"
        "trainer: {accelerator: cpu, max_epochs: 1, log_every_n_steps: 1}\n"
        "model: {warmup_epochs: 0}\n"
    )
    cli = run(["fit", "--config", str(config), *words, *QUIET, "--run_dir", str(tmp_path / "run")])
    assert cli.model.forward(torch.rand(2, 1, 8, 8)).shape == (2, width)
    assert isinstance(cli.model.encoder, ResNet) == (width == 6)
