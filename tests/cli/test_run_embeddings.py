# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sentence_files import write_pairs
from helpers.tiny_text import save_model
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from lightning_monocon import MonoCon
from lightning_monocon.cli.run_embeddings import embedded
from lightning_monocon.data import DigitsData, SNLIData
from lightning_monocon.encoders import SmallCNN, TextEncoder
from lightning_monocon.scorecard import EmbeddingSet, measure_all


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, model: Path) -> SNLIData:
    root = write_pairs(tmp_path_factory.mktemp("data"))
    return SNLIData(str(root), tokenizer=str(model), batch_size=4, max_length=32)


@pytest.fixture(scope="module")
def module(model: Path) -> MonoCon:
    return MonoCon(TextEncoder(str(model)), head="none").eval()


@pytest.fixture(scope="module")
def found(module: MonoCon, data: SNLIData) -> EmbeddingSet:
    return embedded(module, data)


def vectors(module: MonoCon, data: SNLIData, texts: list[str]) -> np.ndarray:
    """One sentence at a time, so that no order and no padding can be mistaken."""
    with torch.no_grad():
        rows = [module(data._collate(([text], [0]))[0]) for text in texts]
    unit = torch.nn.functional.normalize(torch.cat(rows).double())
    return unit.numpy()


def test_scored_pairs_are_judged_as_scipy_does(module: MonoCon, data: SNLIData, found: EmbeddingSet) -> None:
    _, dev, test = measure_all(found, dims=[found.dim])
    for score, stage, name in ((dev, "val", "stsb-dev"), (test, "test", "stsb-test")):
        pairs, scores = data.scored[stage]  # type: ignore[index]
        cosine = (vectors(module, data, pairs.first) * vectors(module, data, pairs.second)).sum(1)
        assert score.truth.name == name
        assert score.value == pytest.approx(spearmanr(cosine.round(6), scores).statistic, abs=1e-9)


def test_the_search_finds_what_it_should(module: MonoCon, data: SNLIData, found: EmbeddingSet) -> None:
    """nDCG@10 of scikit-learn over the files' pairs, by texts; no sentence asks and answers in these files."""
    (search, *_) = measure_all(found, dims=[found.dim])
    pairs = {*zip(*data.pairs["test"], strict=True), *zip(*data.pairs["val"], strict=True)}
    query = sorted({*data.pairs["test"].first})
    gallery = sorted({text for pair in pairs for text in pair} - {*query})
    relevance = [[(one, two) in pairs for two in gallery] for one in query]
    cosine = vectors(module, data, query) @ vectors(module, data, gallery).T
    assert (search.truth.name, search.n, search.n_query) == ("snli-entailed", len(gallery), len(query))
    assert search.figures["ndcg@10"] == pytest.approx(ndcg_score(relevance, cosine, k=10), abs=1e-9)


def test_what_is_known_survives_the_file(found: EmbeddingSet, tmp_path: Path) -> None:
    again = EmbeddingSet.load(found.save(tmp_path / "set.safetensors"))
    assert [truth.key for truth in again.judges()] == [truth.key for truth in found.judges()]


def test_rows_with_classes_keep_their_labels() -> None:
    data = DigitsData(batch_size=256)
    found = embedded(MonoCon(SmallCNN(), head="none"), data)
    assert [truth.kind for truth in found.judges()] == ["labels"] and not found.sides
