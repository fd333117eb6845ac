# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
from helpers.plain_runs import Plain, clusters, loader, trainer
from torch import Tensor

from lightning_monocon.callbacks import RunRecord

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    holder = RunRecord(str(tmp_path / "run"))
    holder.folder.claim(resume=False)
    with pytest.raises(RuntimeError, match=r"`--run-dir` must not be in use; .* is being written by pid \d+ on \S+\."):
        trainer(RunRecord(str(tmp_path / "run"))).fit(Plain(), loader(clusters(26, 0)))
    holder.folder.release()
    trainer(RunRecord(str(tmp_path / "run"))).fit(Plain(), loader(clusters(26, 0)))


def test_a_failed_run_says_so_and_gives_its_folder_back(tmp_path: Path) -> None:
    class Failing(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise FloatingPointError("loss is nan")

    record = RunRecord(str(tmp_path / "run"))
    with pytest.raises(FloatingPointError):
        trainer(record).fit(Failing(), loader(clusters(26, 0)))
    assert '"event": "failure", "error": "FloatingPointError: loss is nan"' in record.folder.record.read_text()
    record.folder.claim(resume=True)
    record.folder.release()
