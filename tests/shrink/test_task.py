# SPDX-License-Identifier: Apache-2.0
"""Ids of rows are kept exactly, or refused; what puts the queries in doubt is noted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lightning_monocon.shrink.task import read_task

LARGEST = 2**63 - 1


def written(folder: Path, ids: list[np.ndarray]) -> str:
    folder.mkdir()
    source = np.random.default_rng(0)
    for place, own in enumerate(ids):
        rows = source.normal(size=(len(own), 4)).astype(np.float32)
        save_file({"embeddings": rows, "ids": own}, folder / f"{place}.safetensors")
    return str(folder)


def query(folder: Path) -> str:
    rows = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    save_file({"embeddings": rows}, folder / "q.safetensors")
    return str(folder / "q.safetensors")


def test_ids_of_signed_and_unsigned_files_are_joined_exactly(tmp_path: Path) -> None:
    signed, unsigned = np.arange(20) - 3, np.arange(LARGEST - 19, LARGEST + 1, dtype=np.uint64)
    task = read_task([written(tmp_path / "rows", [signed, unsigned])], query(tmp_path))
    assert task.ids is not None and task.ids.dtype == np.int64
    assert task.ids.tolist() == [*signed.tolist(), *unsigned.tolist()]  # float64 would round the last ones


def test_ids_beyond_63_bits_are_refused(tmp_path: Path) -> None:
    beyond = np.arange(LARGEST - 10, LARGEST + 10, dtype=np.uint64)
    place = written(tmp_path / "rows", [beyond])
    with pytest.raises(ValueError, match=f"`VECTORS` must have ids up to {LARGEST}, or texts; got {LARGEST + 9}"):
        read_task([place], query(tmp_path))


def test_rows_and_queries_of_zeros_are_counted(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    rows[[1, 8, 29]] = 0
    rows[8] = -0.0
    np.save(tmp_path / "rows.npy", rows)
    asked = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    asked[[2, 5]] = 0
    np.save(tmp_path / "asked.npy", asked)
    told = read_task([tmp_path / "rows.npy"], tmp_path / "asked.npy").notes
    assert "2 of 9 queries are zeros, which have no direction to compare" in told
    assert "3 of 30 rows of VECTORS are zeros, which have no direction to compare" in told


def test_queries_without_an_answer_are_counted(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", source.normal(size=(30, 4)).astype(np.float32))
    np.save(tmp_path / "asked.npy", source.normal(size=(9, 4)).astype(np.float32))
    judged = {(0, 4): 1, (0, 7): 2, (3, 1): 1, (5, 2): 0, (8, 29): 3}  # query, row: grade, and 0 is no answer
    lines = ["query-id\tcorpus-id\tscore", *(f"{asked}\t{row}\t{grade}" for (asked, row), grade in judged.items())]
    (tmp_path / "known.tsv").write_text("\n".join(lines) + "\n")
    task = read_task([tmp_path / "rows.npy"], tmp_path / "asked.npy", "qrels", tmp_path / "known.tsv")
    answered = {asked for (asked, _), grade in judged.items() if grade > 0}
    assert task.truth.units == len(answered) == 3
    assert task.notes == ("6 of 9 queries have no answer and were left out",)


@pytest.mark.parametrize("kind", [object, complex])
def test_arrays_of_no_numbers_are_refused_by_the_argument(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "rows.npy", np.ones((30, 4)).astype(kind), allow_pickle=True)
    with pytest.raises(TypeError, match=r"^`VECTORS` must hold numbers, or strings as labels; .*rows\.npy.*: save "):
        read_task([tmp_path / "rows.npy"], None)
