# SPDX-License-Identifier: Apache-2.0
"""Files of every release so far load, embed as they did, and can be gone on with."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from safetensors import safe_open

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import ExactResume
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN, build_encoder

HERE = Path(__file__).parent
RELEASES = sorted(path.name.removesuffix(".ckpt") for path in HERE.glob("*.ckpt"))
INPUTS = (torch.arange(8 * 64).reshape(8, 1, 8, 8) % 17) / 16


def weights(release: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(HERE / f"{release}.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def test_there_are_files_and_they_are_small() -> None:
    assert "0.1.0" in RELEASES
    assert all(path.stat().st_size < 100_000 for path in HERE.iterdir() if path.is_file())


@pytest.mark.parametrize("release", RELEASES)
def test_a_checkpoint_embeds_as_it_did(release: str) -> None:
    model = MonoCon.load_from_checkpoint(HERE / f"{release}.ckpt")
    with torch.no_grad():
        torch.testing.assert_close(model(INPUTS), weights(release)[0]["expected"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("release", RELEASES)
def test_safetensors_embed_as_they_did(release: str) -> None:
    tensors, metadata = weights(release)
    expected = tensors.pop("expected")
    description = json.loads(metadata["description"])
    head = {key: value for key, value in description["head"].items() if key != "arm"}
    in_features, out_features = head.pop("in_features"), head.pop("out_features")
    model = MonoCon(
        build_encoder(description["encoder"]), description["head"]["arm"],
        in_features=in_features, out_features=out_features, head_options=head or None,
    )  # fmt: skip
    model.load_state_dict(tensors)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(INPUTS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("release", RELEASES)
def test_a_run_goes_on(release: str, tmp_path: Path) -> None:
    L.seed_everything(0, verbose=False)
    model = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=1)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, callbacks=[ExactResume(allow_drift=True)], limit_val_batches=0,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Lightning says of callbacks that the checkpoint has and this run has not
        trainer.fit(model, datamodule=DigitsData(128, seed=0), ckpt_path=HERE / f"{release}.ckpt")
    assert (trainer.current_epoch, trainer.global_step) == (3, 24)
    assert model.phase == "joint"
