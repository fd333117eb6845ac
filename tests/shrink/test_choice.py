# SPDX-License-Identifier: Apache-2.0
"""Test that a weak code of more bytes does not hide a good one of fewer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from lightning_monocon.cli import main
from lightning_monocon.codes.candidates import Candidate
from lightning_monocon.shrink.choice import surer_than_smaller
from lightning_monocon.shrink.result import Line


def test_a_larger_code_that_a_smaller_one_beats_is_not_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(0).standard_normal((2500, 64)).astype(np.float32))
    main(["shrink", "rows.npy", "--store", "pgvector", "--keep", "0.25", "--out", "out"])
    told = json.loads(Path("out/shrink.json").read_text())
    found = {line["name"]: line["quality"]["estimate"] for line in told["codes"]}
    halves = [quality for name, quality in found.items() if name.startswith("half") and name.endswith(("-16", "-32"))]
    assert max(halves) < 0.3 < found["scalar1-8"], "8 bytes of bits keep more than 32 of float16"
    assert told["chosen"] == {"name": "scalar1-8", "bytes_per_vector": 8}


def line(budget: int, values: np.ndarray, best: bool = True) -> Line:
    found = torch.from_numpy(values)
    candidate = Candidate(f"transform-{budget}", budget, lambda rows, size: pytest.fail("not fitted"))
    return Line(candidate.name, candidate, found, budget, float(found.mean()), best=best)


def test_codes_are_tested_that_are_surer_than_every_smaller_one() -> None:
    """Of equal variance the surest is the best; a lucky code that changes many answers is less sure than one of few."""
    whole = np.tile([1.0, 0.0], 500)
    lucky, faithful, twin, half = whole.copy(), whole.copy(), whole.copy(), whole.copy()
    lucky[1:120:2], lucky[0:80:2] = 1, 0  # 60 answers more and 40 fewer
    faithful[0:10:2] = 0
    twin[20:30:2] = 0
    lines = [
        line(32, half),
        line(4, lucky),
        line(16, twin),
        line(8, faithful),
        line(2, whole * 0),
        line(64, lucky, False),
    ]
    found = surer_than_smaller(lines, torch.from_numpy(whole), torch.arange(1000), 0.95)
    assert [each.budget for each in found] == [2, 4, 8, 32]  # 16 bytes keep as much as 8

    def sureness(values: np.ndarray) -> float:
        return float(stats.ttest_1samp(values - 0.95 * whole, 0).statistic)

    assert lucky.mean() > half.mean() > faithful.mean()
    assert sureness(whole * 0) < sureness(lucky) < sureness(faithful) == sureness(twin) < sureness(half)


def test_few_labels_are_answered_by_a_code_that_is_sure(tmp_path: Path) -> None:
    """A few bytes have the best accuracy on the choosing queries, by luck; on the others they do not show enough."""
    draw = np.random.default_rng(1)
    centres = draw.standard_normal((8, 20))
    for name, count in (("rows", 600), ("query", 400)):
        labels = draw.integers(8, size=count)
        rows = (centres[labels] + 1.5 * draw.standard_normal((count, 20))).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", embeddings=rows, labels=labels)
    paths = [str(tmp_path / name) for name in ("rows.npz", "query.npz", "out")]
    main(["shrink", paths[0], "--queries", paths[1], "--out", paths[2], "--labels", "--keep", "0.9"])
    found = json.loads((tmp_path / "out/shrink.json").read_text())
    quality = found["quality"]
    assert quality["certified"] and quality["estimate"] >= 0.9 * quality["whole"]
    assert "half-40" in {code["name"] for code in found["codes"]}  # float16, since a smaller code is the best one
    assert "left out: other codes of more than 192 bytes, as fewer keep enough" in found["notes"]
