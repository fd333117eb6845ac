# SPDX-License-Identifier: Apache-2.0
"""Tests of what only DuckDB has: the search macro in the file, comments as stamps, and files of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import OPTIONS, code_folder, planted

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_scalar
from lightning_monocon.codes.fitting import Similarity
from lightning_monocon.codes.space import Scoring
from lightning_monocon.stores import load, open_store

duckdb = pytest.importorskip("duckdb")


def _codec(kind: str, similarity: Similarity, scoring: Scoring) -> Codec:
    return fit_scalar(FittingRows.of(planted(), similarity), 16, OPTIONS[kind], scoring)


@pytest.mark.parametrize(
    ("kind", "similarity", "scoring"),
    [
        ("int8", "cosine", "whole"),
        ("int8", "cosine", "centred"),
        ("int8", "dot", "whole"),
        ("bit", "cosine", "whole"),
        ("bit", "cosine", "centred"),
        ("bit", "dot", "whole"),
    ],
)
def test_search_macro_scores_as_the_codec(tmp_path: Path, kind: str, similarity: Similarity, scoring: Scoring) -> None:
    bundle = code_folder(tmp_path / "out", _codec(kind, similarity, scoring))
    load(bundle, open_store(f"duckdb:///{tmp_path / 'a.db'}", "rows")).store.close()
    own = bundle.codec.score(bundle.queries, np.asarray(bundle.codes))
    with duckdb.connect(tmp_path / "a.db") as connection:
        for query, scores in zip(bundle.queries[:10], own[:10], strict=True):
            asked = "SELECT id, score FROM rows_search($1, shortlist := 600)"
            found = connection.execute(asked, [query.tolist()]).fetchall()
            places = [(one - 7) // 3 for one, _ in found]
            scale = max(1.0, float(np.abs(scores).max()))
            assert np.allclose([score for _, score in found], scores[places], atol=2e-6 * scale)
            assert np.allclose(scores[places], np.sort(scores)[-10:][::-1], atol=2e-6 * scale)


def test_foreign_tables_and_files_are_left_alone(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE VIEW documents AS SELECT 1 AS id")
    store = open_store(f"duckdb:///{tmp_path / 'a.db'}")
    with pytest.raises(ValueError, match=r"the table documents in .* is another's"):
        load(code_folder(tmp_path / "out", "bit"), store)
    store.close()
    (tmp_path / "b.db").write_text("not a database, but text that is long enough to be read")
    with pytest.raises(ValueError, match=r"must be a DuckDB file; .*b.db is not"):
        open_store(f"duckdb:///{tmp_path / 'b.db'}")
    with pytest.raises(FileNotFoundError, match="must lie in a folder that exists"):
        open_store(f"duckdb:///{tmp_path / 'none' / 'a.db'}")


def test_a_float16_code_is_refused_with_advice(tmp_path: Path) -> None:
    store = open_store(f"duckdb:///{tmp_path / 'a.db'}")
    with pytest.raises(ValueError, match=r"holds half numbers, which DuckDB has no column for. Take uncentred int8"):
        load(code_folder(tmp_path / "out", "half"), store)
    store.close()
