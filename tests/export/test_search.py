# SPDX-License-Identifier: Apache-2.0
"""The code of docs/search.md as it stands, on the vectors of a real export, against NumPy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from lightning_monocon import MonoCon
from lightning_monocon.embedding import embed
from lightning_monocon.export import export_model

faiss: Any = pytest.importorskip("faiss")
pytest.importorskip("usearch")

K = 10


@pytest.fixture(scope="module")
def names(
    trained: MonoCon, digits: LightningDataModule, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the page's code leaves behind."""
    out = tmp_path_factory.mktemp("search") / "OUT"
    gallery, query = digits.test_dataloader()
    export_model(trained, gallery, query, out, dim=8, storage="int8", forms=[], vectors=True)
    text = (root / "docs" / "search.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(compile(block.replace("OUT", str(out)), "docs/search.md", "exec"), found)
    return found


def nearest(gallery: NDArray[Any], query: NDArray[Any]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.argsort(-(query @ gallery.T), axis=1, kind="stable")[:, :K]
    return found


def recall(found: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth, strict=True)]))


def test_faiss_stores_the_codes_of_the_export(names: dict[str, Any]) -> None:
    codes = names["stored"]["gallery"].numpy()
    kept = faiss.vector_to_array(names["index"].codes).reshape(codes.shape)
    np.testing.assert_array_equal(kept.astype(int) - 128, codes)
    rows = [names["stored"][name].numpy().astype(np.float64) * names["step"] for name in ("gallery", "query")]
    assert recall(names["rows"], nearest(*rows)) > 0.999


def test_the_graph_finds_nearly_all(names: dict[str, Any]) -> None:
    rows = [names["stored"][name].numpy().astype(np.float64) * names["step"] for name in ("gallery", "query")]
    assert recall(names["near"], nearest(*rows)) > 0.95


def test_candidates_by_bits_hold_the_nearest(names: dict[str, Any]) -> None:
    rows = [names["stored"][name].numpy().astype(np.float64) * names["step"] for name in ("gallery", "query")]
    signs = [np.where(each > 0, 1.0, -1.0) for each in rows]
    distances = (8 - signs[1] @ signs[0].T) / 2
    np.testing.assert_array_equal(names["distances"], np.sort(distances, axis=1)[:, :100])


def test_small_vectors_keep_the_neighbours_and_the_labels(
    names: dict[str, Any], trained: MonoCon, digits: LightningDataModule
) -> None:
    gallery, query = (embed(trained, loader) for loader in digits.test_dataloader())
    whole = [each["embeddings"].double() for each in (gallery, query)]
    truth = nearest(*((each / each.norm(dim=1, keepdim=True)).numpy() for each in whole))
    assert recall(names["rows"], truth) > 0.6
    labels, answers = gallery["labels"].numpy(), query["labels"].numpy()
    right, before = ((labels[found] == answers[:, None]).any(1).mean() for found in (names["rows"], truth))
    assert right > before - 0.03
