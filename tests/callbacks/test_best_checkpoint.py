# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch

from lightning_monocon.callbacks import BestCheckpoint


def test_the_best_is_remembered_when_the_folder_has_moved(tmp_path: Path) -> None:
    before, after = BestCheckpoint(str(tmp_path / "old")), BestCheckpoint(str(tmp_path / "new"))
    score = torch.tensor(0.9)
    path = str(tmp_path / "old" / "best.ckpt")
    before.best_k_models, before.best_model_path, before.best_model_score = {path: score}, path, score
    before.kth_best_model_path, before.kth_value = path, score
    after.load_state_dict(before.state_dict())
    moved = str(tmp_path / "new" / "best.ckpt")
    assert after.best_model_path == after.kth_best_model_path == moved
    assert after.best_k_models == {moved: score}
    assert after.best_model_score == score
