# SPDX-License-Identifier: Apache-2.0
"""Test that the bytes that are told are those that a code takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lightning_monocon.cli import main
from lightning_monocon.codes import load


def test_a_code_that_needs_fewer_bytes_than_it_was_given_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((700, 3)) @ draw.standard_normal((3, 40))  # three numbers of 8 bits hold all
    np.save("rows.npy", rows.astype(np.float32))
    main(["shrink", "rows.npy", "--budget", "40", "--keep", "0.1", "--out", "out"])
    told = json.loads(Path("out/shrink.json").read_text())
    codec, codes = load("out"), np.load("out/codes.npy")
    assert told["chosen"]["bytes_per_vector"] == codec.bytes_per_vector == codes.shape[1]
    assert {line["bytes"] for line in told["codes"] if line["name"].startswith("transform")} == {2, 3}
