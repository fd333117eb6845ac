# SPDX-License-Identifier: Apache-2.0
"""Tests that a folder with damaged or unfit arrays is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import code_folder

from lightning_monocon.stores import read_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder of codes."""
    return code_folder(tmp_path / "out", "bit").folder


@pytest.mark.parametrize("left", [0, 40, -1], ids=["empty", "cut in the header", "cut at the end"])
@pytest.mark.parametrize("name", ["codes.npy", "ids.npy", "queries.npz"])
def test_damaged_arrays_are_named(folder: Path, name: str, left: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"`OUT` must hold a whole {name}; .* is damaged: write the folder again"):
        read_bundle(folder)


def test_ids_that_no_store_can_hold_are_refused(folder: Path) -> None:
    rows = len(np.load(folder / "codes.npy"))
    np.save(folder / "ids.npy", np.arange(rows, dtype=np.uint64) + 2**63)
    with pytest.raises(
        ValueError, match=r"`ids\.npy` must be integers up to 9223372036854775807; got 9223372036854776"
    ):
        read_bundle(folder)
    np.save(folder / "ids.npy", np.arange(rows, dtype=np.uint64) + (2**63 - rows))
    assert read_bundle(folder).ids[-1] == 2**63 - 1
    np.save(folder / "ids.npy", np.arange(2 * rows).reshape(rows, 2))
    with pytest.raises(ValueError, match=r"`ids\.npy` must be one integer or text a row"):
        read_bundle(folder)


def test_queries_of_another_width_are_refused(folder: Path) -> None:
    np.savez(folder / "queries.npz", queries=np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"`OUT` must hold queries of the 24 numbers of its codec; got \(3, 2\)"):
        read_bundle(folder)
