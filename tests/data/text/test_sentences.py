# SPDX-License-Identifier: Apache-2.0
import random
import shutil
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from helpers.tiny_text import save_model, save_tokenizer

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from helpers.sentence_files import write_pairs

from lightning_monocon import MonoCon
from lightning_monocon.data import SentencePairs, SNLIData
from lightning_monocon.data.text.batches import PairSampler, PairSet, SentenceSet
from lightning_monocon.data.text.identity import pair_labels, sentence_ids
from lightning_monocon.data.text.pair_files import SentencePair
from lightning_monocon.encoders import TextEncoder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(root: Path, tokenizer: str) -> SNLIData:
    module = SNLIData(str(root), tokenizer=tokenizer, batch_size=8, sentences=20, seed=0)
    module.setup("fit")
    return module


def test_the_same_sentence_has_the_same_number() -> None:
    texts = ["A man.", "a  MAN.", "A man", "ﬁne", "fine", "A man."]  # a ligature, on purpose
    assert sentence_ids(texts).tolist() == [0, 0, 1, 2, 2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_pair_labels_are_the_connected_components(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(1000, 1000 + 3 * 20, size=(2, 20))
    labels = pair_labels(first, second)
    components = list(nx.connected_components(nx.Graph(zip(first.tolist(), second.tolist(), strict=True))))
    oracle = [min(next(part for part in components if node in part)) for node in first.tolist()]
    assert labels.tolist() == oracle


def test_a_caption_in_several_pairs_is_no_false_negative() -> None:
    pairs = SentencePair(["cat", "dog", "the dog", "bird"], ["animal", "Animal ", "dog", "a bird"])
    data = PairSet(pairs)
    keys = {index: label for label, index in PairSampler(data, 4, seed=0)}
    assert keys[0] == keys[1] == keys[2]  # cat - animal - dog - the dog
    assert keys[3] != keys[0]
    texts, labels = data.__getitems__([(7, 2), (9, 3)])
    assert texts == ["the dog", "bird", "dog", "a bird"]
    assert labels == [7, 9, 7, 9]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_a_step_and_its_labels(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    rng = random.Random(0)
    names = [f"s{i}" for i in range(20)]
    data = PairSet(SentencePair(*([rng.choice(names) for _ in range(62)] for _ in range(2))))
    size = 4
    shares = []
    for rank in range(ranks):
        monkeypatch.setattr("lightning_monocon.data.sampling.world", lambda rank=rank: (rank, ranks))
        shares.append(list(PairSampler(data, size, seed=3)))
    assert len({len(share) for share in shares}) == 1
    seen = [index for share in shares for _, index in share]
    assert len(set(seen)) == len(seen) == 62 // ranks * ranks
    for step in range(len(shares[0]) // size):
        whole = [key for share in shares for key in share[step * size : (step + 1) * size]]
        labels, indices = np.array(whole).T
        np.testing.assert_array_equal(labels, pair_labels(*data.numbers[:, indices]))


def test_order_is_a_function_of_seed_and_epoch_and_resumes(data: SNLIData) -> None:
    def batches(epoch: int) -> list[tuple[list[list[int]], list[int]]]:
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return [(inputs["input_ids"].tolist(), labels.tolist()) for inputs, labels in loader]

    whole = batches(2)
    assert len(whole) == len(data.train) // 8
    assert batches(2) == whole
    assert batches(3) != whole
    data.resume_at(2, 3)
    assert batches(0) == whole[3:]  # the trainer's set_epoch comes after `resume_at`
    assert batches(2) == whole


def test_batches_are_tokenized_and_short(data: SNLIData) -> None:
    inputs, labels = next(iter(data.train_dataloader()))
    assert {"input_ids", "attention_mask"} <= set(inputs)
    assert labels.dtype == torch.int64
    assert labels[:8].tolist() == labels[8:].tolist()
    assert inputs["input_ids"].shape == (16, int(inputs["attention_mask"].sum(1).max()))


def test_max_length_cuts(root: Path, tokenizer: str) -> None:
    data = SNLIData(str(root), tokenizer=tokenizer, batch_size=8, max_length=4)
    data.setup("fit")
    inputs, _ = next(iter(data.train_dataloader()))
    assert inputs["input_ids"].shape[1] == 4


def test_workers_change_nothing(data: SNLIData) -> None:
    whole = [labels.tolist() for _, labels in data.train_dataloader()]
    data.num_workers = 1
    assert [labels.tolist() for _, labels in data.train_dataloader()] == whole


def test_gallery_and_query_are_distinct_sentences_of_their_splits(data: SNLIData) -> None:
    assert data.has_classes is False
    train = {text for side in data.pairs["train"] for text in side}
    for stage, loaders in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        gallery, query = (loader.dataset for loader in loaders)
        assert isinstance(gallery, SentenceSet)
        assert isinstance(query, SentenceSet)
        assert len(gallery) == 20
        assert set(gallery.texts) <= train
        assert set(query.texts) <= {text for side in data.pairs[stage] for text in side}
        assert [len(text) for text in gallery.texts] == sorted(len(text) for text in gallery.texts)
        for part in (gallery, query):
            assert len(set(part.labels.tolist())) == len(part)
            assert part.labels.tolist() == [
                dict(zip([*gallery.texts, *query.texts], [*gallery.labels, *query.labels], strict=True))[t]
                for t in part.texts
            ]
    again = data.val_dataloader()[0].dataset
    assert isinstance(again, SentenceSet)
    assert again.texts == [*data.val_dataloader()[0].dataset.texts]  # type: ignore[attr-defined]


def test_prediction_keeps_the_order_of_the_file(data: SNLIData) -> None:
    gallery, query = (loader.dataset for loader in data.predict_dataloader())
    assert (gallery.texts, query.texts) == (data.pairs["test"].first, data.pairs["test"].second)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(gallery.labels, query.labels)  # type: ignore[attr-defined]


def test_scored_pairs_say_which_they_are(data: SNLIData) -> None:
    loader = data.similarity_dataloader("val")
    assert loader is not None
    pairs = data.scored["val"].pairs
    found = dict(zip(loader.dataset.labels.tolist(), loader.dataset.texts, strict=True))  # type: ignore[attr-defined]
    assert [found[2 * i] for i in range(len(pairs))] == pairs.first
    assert [found[2 * i + 1] for i in range(len(pairs))] == pairs.second
    assert data.monitor == "val/spearman"


def test_any_pair_file_without_scores(root: Path, tokenizer: str) -> None:
    file = str(root / "snli" / "dev.tsv.gz")
    data = SentencePairs(file, file, columns=("premise", "hypothesis"), tokenizer=tokenizer, batch_size=4)
    data.setup("fit")
    assert data.monitor is None
    assert data.similarity_dataloader("test") is None


@pytest.mark.parametrize("edition", ["jsonl", "txt", "parquet", "beside"])
def test_editions_of_snli(root: Path, tmp_path: Path, tokenizer: str, edition: str, data: SNLIData) -> None:
    shutil.copytree(root / "stsb", tmp_path / "stsb")
    write_pairs(tmp_path, edition)
    other = SNLIData(str(tmp_path), tokenizer=tokenizer, batch_size=8)
    other.setup("fit")
    assert other.pairs == data.pairs


def test_the_real_files(shared_data: Path, tokenizer: str) -> None:
    data = SNLIData(str(shared_data), tokenizer=tokenizer)
    data.setup("fit")
    assert [len(data.pairs[part]) for part in ("train", "val", "test")] == [8213, 3329, 3368]
    assert [len(data.scored[stage].scores) for stage in ("val", "test")] == [1500, 1379]
    assert [len(loader.dataset) for loader in data.val_dataloader()] == [4096, 4096]  # type: ignore[arg-type]
    labels = torch.cat([labels for labels in _labels(data)])
    assert len(labels) == 8213 // 128 * 128
    assert len(labels.unique()) < len(labels)  # some captions repeat within a step


def _labels(data: SNLIData) -> list[torch.Tensor]:
    keys = list(PairSampler(data.train, 128, 0))[: len(data.train) // 128 * 128]
    return [torch.tensor([label for label, _ in keys])]


def test_a_tokenizer_that_does_not_fit_the_model(root: Path, tmp_path: Path) -> None:
    from lightning.pytorch import Trainer

    model = save_model(tmp_path / "model")
    other = save_tokenizer(tmp_path / "other", [f"word{i}" for i in range(40)])
    data = SNLIData(str(root), tokenizer=str(other), batch_size=8)
    trainer = Trainer(fast_dev_run=True, accelerator="cpu", logger=False, enable_progress_bar=False)
    module = MonoCon(TextEncoder(str(model)), warmup_epochs=0)
    with pytest.raises(ValueError, match=r"`tokenizer` must fit the encoder, which has embeddings for 25 tokens"):
        trainer.fit(module, data)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batch_size": 1}, r"`batch_size` must be at least 2, got 1"),
        ({"max_length": 2}, r"`max_length` must be at least 3, got 2"),
        ({"sentences": 1}, r"`sentences` must be at least 2, got 1"),
        ({"filter_value": "x"}, r"`filter_column` and `filter_value` must be given together, got None and 'x'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SentencePairs("a.tsv", "b.tsv", **arguments)


def test_missing_folders_and_a_batch_too_large(root: Path, tmp_path: Path, tokenizer: str) -> None:
    with pytest.raises(ValueError, match=r"`root` must be a folder that holds snli/train.tsv.gz"):
        SNLIData(str(tmp_path))
    shutil.copytree(root / "snli", tmp_path / "snli")
    with pytest.raises(ValueError, match=r"`root` must be a folder that holds stsb/dev.tsv"):
        SNLIData(str(tmp_path))
    with pytest.raises(ValueError, match=r"`batch_size` must not exceed the \d+ train pairs .* got 999"):
        SNLIData(str(root), tokenizer=tokenizer, batch_size=999).setup("fit")
