# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sentence_files import write_pairs
from helpers.tiny_text import save_model
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score
from sklearn.neighbors import KNeighborsClassifier

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from lightning_monocon import MonoCon
from lightning_monocon.cli.run_embeddings import certified, corrupted, embedded
from lightning_monocon.data import DigitsData, SNLIData
from lightning_monocon.data.text.held_out import pair_search
from lightning_monocon.data.text.perturbations import perturb_sentences
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


def test_perturbed_queries_are_judged_as_scikit_learn_does(
    module: MonoCon, data: SNLIData, found: EmbeddingSet
) -> None:
    """The gallery stays clean; queries in capitals mean the same to an uncased model, words out of order do not."""
    robust = corrupted(module, data, found)
    assert robust.measure == "ndcg@10" and robust.clean == measure_all(found, dims=[found.dim])[0].value
    search = pair_search(data.pairs["test"], data.pairs["val"])
    relevance = np.zeros((len(search.query), len(search.gallery)))
    relevance[tuple(search.answers.T)] = 1
    for name in ("typos", "word_order"):
        for severity in (1, 5):
            asked = perturb_sentences(search.query, name, severity)
            cosine = vectors(module, data, asked) @ vectors(module, data, search.gallery).T
            expected = ndcg_score(relevance, cosine, k=10)
            assert robust.corrupted[name][severity - 1] == pytest.approx(expected, abs=1e-9)


def test_corrupted_images_are_judged_as_scikit_learn_does() -> None:
    data, module = DigitsData(batch_size=256), MonoCon(SmallCNN(), head="none").eval()
    clean = embedded(module, data)
    robust = corrupted(module, data, clean)
    neighbours = KNeighborsClassifier(5, metric="cosine").fit(clean.gallery, clean.gallery_labels)
    images = torch.cat([images for images, _ in data.corrupted("noise", 5)])
    with torch.no_grad():
        share = neighbours.score(module(images), clean.query_labels)
    assert robust.measure == "knn_accuracy"
    assert robust.corrupted["noise"][4] == pytest.approx(share, abs=0.01)  # votes that tie are settled otherwise
    assert robust.corrupted["noise"][4] < robust.clean


def test_answers_of_a_head_are_proved_and_those_of_no_head_are_not() -> None:
    data = DigitsData(batch_size=256)
    module = MonoCon(SmallCNN(), head_options={"init": "identity"}).eval()
    clean = embedded(module, data)
    found = certified(module, data, (1e-3, 0.05))
    neighbours = KNeighborsClassifier(5, metric="cosine").fit(clean.gallery, clean.gallery_labels)
    assert found is not None and found.queries == 100
    assert found.right == pytest.approx(neighbours.score(clean.query[:100], clean.query_labels[:100]), abs=0.02)
    assert found.right >= found.proved[0] >= found.proved[1] and found.proved[0] > 0.2
    assert all(proved <= kept <= found.right for proved, kept in zip(found.proved, found.attacked, strict=True))
    assert certified(MonoCon(SmallCNN(), head="none"), data, (0.1,)) is None
