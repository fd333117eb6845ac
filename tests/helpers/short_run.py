# SPDX-License-Identifier: Apache-2.0
"""A short run of the command line, and its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SHORT = [
    "--trainer.max_epochs=3",
    "--model.warmup_epochs=1",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
GEOMETRY = {
    "effective_dimension",
    "feature_correlation",
    "constant_features",
    "total_variance",
    "mean_cosine",
    "rmse",
    "fvu",
    "effective_rank",
    "alpha_req",
}
"""The metrics that need no labels."""


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
