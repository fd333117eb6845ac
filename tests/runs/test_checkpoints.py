# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from helpers.gadget import Gadget

from lightning_monocon.runs.checkpoints import read_checkpoint


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"state_dict": {}, "monocon": Gadget(mark)}, tmp_path / "evil.ckpt")
    with pytest.raises(
        ValueError, match=r"`path` must be a whole checkpoint of plain values .* is damaged or holds code"
    ):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not mark.exists()


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(1000)}, "monocon": {}}, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"cut\.ckpt' \(\d+ bytes\) is damaged or holds code"):
        read_checkpoint(path)


def test_urls_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`path` must be a file on this machine, got the URL .https://host/x\.ckpt"):
        read_checkpoint("https://host/x.ckpt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` must be an existing checkpoint, got '.*none.ckpt'"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_a_checkpoint_of_somebody_else(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="`path` must be a checkpoint written by MonoCon, got"):
        read_checkpoint(tmp_path / "other.ckpt")
