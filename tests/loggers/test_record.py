# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch

from lightning_monocon.loggers.record import RecordLogger


def test_the_record_holds_json_whatever_the_number(tmp_path: Path) -> None:
    logger = RecordLogger(tmp_path / "record.jsonl")
    logger.log_metrics({"a": float("nan"), "b": torch.tensor(2.0), "epoch": 1}, step=3)
    assert '"epoch": 1, "step": 3, "metrics": {"a": null, "b": 2.0}' in logger.path.read_text()
