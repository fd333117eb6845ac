# SPDX-License-Identifier: Apache-2.0
"""Test that a weak code of more bytes does not hide a good one of fewer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lightning_monocon.cli import main


def test_a_larger_code_that_a_smaller_one_beats_is_not_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(0).standard_normal((2500, 64)).astype(np.float32))
    main(["shrink", "rows.npy", "--store", "pgvector", "--keep", "0.25", "--out", "out"])
    told = json.loads(Path("out/shrink.json").read_text())
    found = {line["name"]: line["quality"]["estimate"] for line in told["codes"]}
    halves = [quality for name, quality in found.items() if name.startswith("half") and name.endswith(("-16", "-32"))]
    assert max(halves) < 0.3 < found["scalar1-8"], "8 bytes of bits keep more than 32 of float16"
    assert told["chosen"] == {"name": "scalar1-8", "bytes_per_vector": 8}
