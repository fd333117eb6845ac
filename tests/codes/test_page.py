# SPDX-License-Identifier: Apache-2.0
"""The Python of docs/codes.md, which uses no library, reads every kind of code as the package does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from helpers.codecs import KINDS, dyadic_codecs, dyadic_rows, fitted, rows_of

from lightning_monocon.codes import Codec, save
from lightning_monocon.codes.fitting import Similarity


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> dict[str, Any]:
    text = (request.config.rootpath / "docs" / "codes.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/codes.md", "exec"), names)
    return names


def check(page: dict[str, Any], codec: Codec, rows: np.ndarray, folder: Path) -> None:
    save(codec, folder)
    files = page["read"](folder)
    codes = [page["encode"](*files, row) for row in rows.tolist()]
    assert codes == [bytes(code) for code in codec.encode(rows)]
    decoded = [page["point_of_code"](*files, code) for code in codes]
    np.testing.assert_allclose(decoded, codec.decode(codec.encode(rows)), rtol=1e-6, atol=1e-7)
    scores = [page["score"](*files, rows[0].tolist(), code) for code in codes]
    np.testing.assert_allclose(scores, codec.score(rows[:1], codec.encode(rows))[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("kind", KINDS)
def test_fitted_codecs(kind: str, similarity: Similarity, tmp_path: Path, page: dict[str, Any]) -> None:
    rows = rows_of(12, 1).numpy()
    rows[1] = 0
    check(page, fitted(kind, similarity), rows, tmp_path)


@pytest.mark.parametrize("name", dyadic_codecs())
def test_rows_on_thresholds(name: str, tmp_path: Path, page: dict[str, Any]) -> None:
    check(page, dyadic_codecs()[name], dyadic_rows()[:40].numpy(), tmp_path)


def test_altered_files_are_noticed(tmp_path: Path, page: dict[str, Any]) -> None:
    save(dyadic_codecs()["half"], tmp_path)
    text = (tmp_path / "codec.json").read_text()
    for changed, sentence in ((text.replace("planted", "grown"), "altered"), (text.replace(" 1,", " 2,", 1), "later")):
        (tmp_path / "codec.json").write_text(changed)
        with pytest.raises(ValueError, match=sentence):
            page["read"](tmp_path)
