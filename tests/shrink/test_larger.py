# SPDX-License-Identifier: Apache-2.0
"""Test that larger codes are tried where the usual ones do not keep enough, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_monocon.cli import main
from lightning_monocon.codes import load
from lightning_monocon.codes.candidates import larger_candidates, stored_candidates


def shrink(folder: Path, *words: str) -> dict[str, Any]:
    paths = [str(folder / name) for name in ("rows.npy", "query.npy", "out")]
    main(["shrink", paths[0], "--queries", paths[1], "--out", paths[2], *words])
    found: dict[str, Any] = json.loads((folder / "out/shrink.json").read_text())
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows without structure, whose nearest neighbours are hardly nearer than others."""
    draw = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", draw.standard_normal((600, 20), np.float32))
    np.save(tmp_path / "query.npy", draw.standard_normal((1400, 20), np.float32))
    return tmp_path


def test_sizes_rise_to_a_byte_a_number_and_to_float16() -> None:
    assert [each.name for each in larger_candidates(50)] == ["transform-50", "int8-50", "half-100"]
    names = [each.name for each in larger_candidates(1280)]
    assert names[0] == "transform-256" and names[-2:] == ["int8-1280", "half-2560"]
    assert {"scalar4-512", "scalar2-256"} < set(names) and "scalar2-512" not in names  # 1 280 numbers of 2 bits: 320


@pytest.mark.parametrize(("kind", "name"), [("half", "half-3072"), ("int8", "bytes-1536"), ("bit", "scalar1-192")])
def test_a_store_is_offered_all_numbers(kind: str, name: str) -> None:
    found, _ = stored_candidates(1536, 1000, [kind])
    assert found[-1].name == name
    odd, _ = stored_candidates(1000, 1000, [kind])
    assert odd[-1].bytes == {"half": 2000, "int8": 1000, "bit": 125}[kind]


def test_what_few_bytes_cannot_keep_is_kept_by_a_larger_code(folder: Path) -> None:
    found = shrink(folder, "--keep", "0.99")
    tried = {line["name"]: line["quality"]["estimate"] for line in found["codes"]}
    assert max(value for name, value in tried.items() if not name.startswith("half")) < 0.99
    assert found["chosen"] == {"name": "half-40", "bytes_per_vector": 40}
    assert not any("more than 192" in note for note in found["notes"])

    codec, rows, query = load(folder / "out"), np.load(folder / "rows.npy"), np.load(folder / "query.npy")
    unit = [each / np.linalg.norm(each.astype(np.float64), axis=1, keepdims=True) for each in (rows, query)]
    true = np.argsort(-(unit[1] @ unit[0].T), axis=1)[:, :10]
    near = np.argsort(-np.asarray(codec.score(query, np.load(folder / "out/codes.npy"))), axis=1)[:, :10]
    shared = [len({*a} & {*b}) / 10 for a, b in zip(true, near, strict=True)]
    assert np.mean(shared) == pytest.approx(found["quality"]["estimate"], abs=0.002)  # which is of half of the queries


def test_larger_codes_are_left_out_where_smaller_ones_suffice(folder: Path) -> None:
    found = shrink(folder, "--keep", "0.3")
    assert not any(line["name"].startswith("half") for line in found["codes"])
    assert "left out: codes of more than 192 bytes, as fewer keep enough" in found["notes"]


def test_a_budget_is_filled(folder: Path) -> None:
    found = shrink(folder, "--budget", "60")
    assert found["chosen"]["name"] == "half-40"
