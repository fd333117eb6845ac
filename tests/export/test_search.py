# SPDX-License-Identifier: Apache-2.0
"""The code of docs/search.md as it stands, on the vectors of a real export, against NumPy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from lightning_monocon import MonoCon
from lightning_monocon.export import Calibration, export_model
from lightning_monocon.inference.embed import embed

faiss: Any = pytest.importorskip("faiss")
usearch: Any = pytest.importorskip("usearch.index")
quantization: Any = pytest.importorskip("sentence_transformers.util.quantization")

K = 10

# two seconds of training lose two points against the encoder, which is warned of
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")


@pytest.fixture(scope="module")
def names(
    trained: MonoCon, digits: LightningDataModule, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the page's code leaves behind."""
    out = tmp_path_factory.mktemp("search") / "OUT"
    gallery, query = digits.test_dataloader()
    export_model(trained, gallery, query, out, dim=8, dtype="int8", forms=[], vectors=True)
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
    assert recall(names["rows"], nearest(*rows)) > 0.99  # scores are whole numbers of squared steps: some are equal


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


def test_codes_as_they_are_rank_as_decoded_codes_do(names: dict[str, Any]) -> None:
    rows = [names["stored"][name].numpy().astype(np.float64) * names["step"] for name in ("gallery", "query")]
    assert recall(names["best"], nearest(*rows)) > 0.99
    assert len(np.unique(names["step"])) == 1


def test_sentence_transformers_gives_the_codes_of_the_export_when_it_has_its_ranges(names: dict[str, Any]) -> None:
    assert (names["same"] == names["stored"]["gallery"].numpy()).mean() > 0.999


def test_a_row_at_the_mean_of_the_gallery_becomes_zeros(names: dict[str, Any]) -> None:
    assert len(names["empty"]) == 0
    embedder = names["embedder"]
    centred = embedder.head[-2]
    mean = torch.linalg.lstsq(centred.weight.double(), -centred.bias.double()[:, None]).solution[:, 0]
    assert (centred.weight.double() @ mean + centred.bias.double()).abs().max() < 1e-7
    assert not embedder.calibration.codes(embedder.head[-1](torch.zeros(1, 8))).any()


class Planted:
    """4 000 unit rows of 64 numbers whose sizes fall from 1 to 0.02, and 500 queries near some of them."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        sizes = np.geomspace(1, 0.02, 64).astype(np.float32)
        gallery = random.standard_normal((4000, 64)).astype(np.float32) * sizes
        query = gallery[:500] + 0.3 * random.standard_normal((500, 64)).astype(np.float32) * sizes
        self.gallery, self.query = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (gallery, query))
        self.truth = nearest(self.gallery, self.query)
        calibration = Calibration.fit(torch.from_numpy(self.gallery), "int8")
        self.step = calibration.step.numpy()
        self.codes, self.asked = (
            calibration.codes(torch.from_numpy(each)).numpy().astype(np.float32) for each in (self.gallery, self.query)
        )


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


def test_what_the_page_says_of_raw_codes(planted: Planted) -> None:
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (planted.codes, planted.asked)]
    assert recall(nearest(planted.codes, planted.asked), planted.truth) == pytest.approx(0.98, abs=0.01)
    assert recall(nearest(*unit), planted.truth) == pytest.approx(0.98, abs=0.01)
    assert recall(nearest(planted.codes, planted.query), planted.truth) == pytest.approx(0.98, abs=0.01)

    own = np.abs(planted.gallery).max(0) / 127  # a step per number
    rows = [np.rint(each / own) for each in (planted.gallery, planted.query)]
    assert recall(nearest(*rows), planted.truth) == pytest.approx(0.25, abs=0.02)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in rows]
    assert recall(nearest(*unit), planted.truth) == pytest.approx(0.34, abs=0.02)


def test_what_the_page_says_of_the_codes_and_searches_of_sentence_transformers(planted: Planted) -> None:
    quantize = quantization.quantize_embeddings
    theirs = quantize(planted.gallery, "int8")
    assert (theirs == planted.codes).mean() == pytest.approx(0.02, abs=0.01)
    ranges = np.stack([-128.5 * planted.step, 126.5 * planted.step])
    assert (quantize(planted.gallery, "int8", ranges=ranges) == planted.codes).mean() > 0.9999
    searches = {"int8": quantization.semantic_search_usearch, "uint8": quantization.semantic_search_faiss}
    kept = {}
    for kind, search in searches.items():
        corpus = quantize(planted.gallery, kind, ranges=ranges)
        for rescore in (False, True):
            options = {"corpus_precision": kind, "top_k": K, "ranges": ranges, "rescore": rescore}
            hits = search(planted.query, corpus_embeddings=corpus, **options)[0]
            found = np.array([[hit["corpus_id"] for hit in row] for row in hits])
            kept[kind, rescore] = recall(found, planted.truth)
    expected = {("int8", False): 0.98, ("int8", True): 0.98, ("uint8", False): 0.01, ("uint8", True): 0.02}
    assert kept == pytest.approx(expected, abs=0.015)


def test_what_the_page_says_of_ties() -> None:
    random = np.random.default_rng(0)
    codes, asked = (np.packbits(random.standard_normal((rows, 16)) > 0, axis=1) for rows in (4000, 300))
    index = faiss.IndexBinaryFlat(16)
    index.add(codes)
    distances, rows = index.search(asked, K)
    other = usearch.Index(ndim=16, metric="hamming", dtype="b1")
    other.add(np.arange(4000), codes)
    found = other.search(asked, K, exact=True)
    np.testing.assert_array_equal(np.sort(distances, axis=1), np.sort(found.distances, axis=1))
    assert recall(rows, found.keys) == pytest.approx(0.72, abs=0.05)


def test_what_the_page_says_of_a_row_of_zeros(planted: Planted) -> None:
    gallery = planted.gallery[:200].copy()
    gallery[7] = 0
    index = faiss.IndexFlatIP(64)
    index.add(gallery)
    scores, rows = index.search(planted.query[:1], 200)
    graph = usearch.Index(ndim=64, metric="cos", dtype="f32")
    graph.add(np.arange(200), gallery)
    found = graph.search(planted.query[0], 200, exact=True)
    for order in (rows[0].tolist(), found.keys.tolist()):
        assert 0 < order.index(7) < 199
    assert scores[0][rows[0].tolist().index(7)] == 0
    assert found.distances[found.keys.tolist().index(7)] == 1
