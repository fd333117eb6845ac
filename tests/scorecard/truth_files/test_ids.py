# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the text extra is not installed")

import pyarrow as pa

from lightning_monocon.scorecard.truth_files.ids import check_known, ids_of, rows_of


def test_integers_and_texts_of_one_number_match() -> None:
    assert rows_of(["1", "12", "-3"], [np.array([12, -3, 1])]) == {"12": 0, "-3": 1, "1": 2}
    assert rows_of(["1", "12"], [np.array(["12", "x", "1"])]) == {"12": 0, "1": 2}


def test_a_leading_zero_makes_another_id() -> None:
    known = [np.array([1, 2])]
    assert rows_of(["01", "+1", "1.0", " 1", "9" * 30], known) == {}
    with pytest.raises(
        ValueError, match=r"`qrels` must name a query by each id; 1 of 1 ids are unknown: '01', and .*01"
    ):
        check_known("qrels", "query", ["01"], {}, known)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8])
def test_integers_of_every_size_match_exactly(dtype: type[np.integer]) -> None:
    bounds = np.iinfo(dtype)
    ids = [bounds.min, bounds.max, bounds.max - 1, bounds.max - 2]
    wanted = [str(number) for number in (*ids, bounds.max - 3, bounds.min - 1, bounds.max + 1, 2**64, -(2**63) - 1)]
    assert rows_of(wanted, [np.array(ids, dtype=dtype)]) == {str(name): row for row, name in enumerate(ids)}


def test_blocks_of_several_integers_match() -> None:
    blocks = [np.array([2**63 - 1]), np.array([2**63], dtype=np.uint64), np.array([5], dtype=np.int8)]
    assert rows_of(["5", str(2**63), str(2**63 - 1)], blocks) == {str(2**63 - 1): 0, str(2**63): 1, "5": 2}


def test_three_unknown_ids_are_shown() -> None:
    known = [np.array(["a", "b"])]
    wanted = ["a", "z", "y", "x", "w", "z"]
    sentence = r"4 of 5 ids are unknown: 'w', 'x', 'y', \.\.\., and the embeddings have 'a', 'b', \.\.\. Embed"
    with pytest.raises(ValueError, match=sentence):
        check_known("pairs", "row", wanted, rows_of(wanted, known), known)


def test_rows_are_counted_over_blocks() -> None:
    ids = np.random.default_rng(0).permutation(1000)
    wanted = [str(name) for name in range(0, 1000, 7)]
    found = rows_of(wanted, np.split(ids, [0, 1, 300, 999]))
    assert found == {name: ids.tolist().index(int(name)) for name in wanted}


@pytest.mark.parametrize("ids", [np.array([4, 5, 4]), np.array(["4", "5", "4"])], ids=["integers", "texts"])
def test_an_id_of_two_rows_is_refused_where_it_is_named(ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"`ids` must be unique; '4' is the id of the rows 0 and 2\. Remove"):
        rows_of(["4"], [ids[:2], ids[2:]])
    assert rows_of(["5"], [ids]) == {"5": 1}


@pytest.mark.parametrize("values", [[1.0, 2.0], [True, False], [1, None]], ids=["floats", "bools", "a gap"])
def test_ids_of_another_kind_are_refused(values: list[object]) -> None:
    with pytest.raises(
        TypeError, match=r"`path` must have an integer or a text as id in every row; 'qid' of 'f' holds"
    ):
        ids_of(pa.table({"qid": values}), "qid", Path("f"))
