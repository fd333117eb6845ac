# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_folders import class_folders
from helpers.tiny_text import save_tokenizer
from PIL import Image

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from lightning_monocon.data import ImageFolderData, SentencePairs
from lightning_monocon.data.text.pair_files import read_scored
from lightning_monocon.data.text.repeats import new_pairs


def test_repeats_are_left_out_when_asked(tmp_path: Path) -> None:
    images = class_folders(tmp_path / "train", 10, side=8)
    val, test = (class_folders(tmp_path / name, 4, side=8, seed=i) for i, name in enumerate(("val", "test"), start=1))
    for source, target in (("train/apple/0001", "val/bear/0005"), ("train/chair/0022", "test/chair/0009")):
        shutil.copy(tmp_path / f"{source}.png", tmp_path / f"{target}.png")
    shutil.copy(tmp_path / "val/apple/0002.png", tmp_path / "test/apple/0003.png")  # chosen by, then judged by
    Image.fromarray(images[4] ^ np.uint8(1)).save(tmp_path / "test" / "apple" / "0000.png")  # nearly a repeat
    for leave_out, sizes in ((False, [30, 12, 12]), (True, [30, 11, 10])):
        data = ImageFolderData(str(tmp_path), 8, leave_out_repeats=leave_out)
        data.setup("fit")
        assert [data.description[name] for name in ("train", "val", "test", "left_out")] == [
            *sizes,
            36 + 18 - sum(sizes),
        ]
    rows = {part.tobytes() for part in val[np.setdiff1d(np.arange(12), [5])]}
    assert {data.val.images[i].tobytes() for i in data.val.part} == rows
    assert sorted(data.test.part) == sorted(data.test.ids) == [i for i in range(12) if i not in (3, 9)]
    assert data.test.images[4].tobytes() == test[4].tobytes()
    shutil.rmtree(tmp_path / "test")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    with pytest.raises(ValueError, match=r"`leave_out_repeats` must leave images to judge by; all 30 of a part are"):
        ImageFolderData(str(tmp_path), 8, leave_out_repeats=True).setup("fit")


def test_repeats_of_the_validation_part_change_the_split(tmp_path: Path) -> None:
    class_folders(tmp_path, 10, side=8)
    for i in range(10):
        shutil.copy(tmp_path / "apple" / "0000.png", tmp_path / "apple" / f"copy{i}.png")
    splits = []
    for leave_out in (False, True):
        data = ImageFolderData(str(tmp_path), 8, val_size=0.4, leave_out_repeats=leave_out)
        data.setup("fit")
        splits.append(data.split_hash)
        seen = {data.train.images[i].tobytes() for i in data.train.part}
        assert (not any(data.val.images[i].tobytes() in seen for i in data.val.part)) is leave_out
    assert splits[0] != splits[1]  # a resumed run is not validated on other images


def test_repeated_pairs_are_left_out_when_asked(tmp_path: Path) -> None:
    tokenizer = str(save_tokenizer(tmp_path / "tokenizer"))
    files = {
        "train": "a b\tc d\ne f\tg h\ni j\tk l\n",
        "dev": "A  b\tc d\t1\na b\tx y\t2\n",
        "test": "g h\te f\t3\ni j\ti j\t4\nc d\tg h\t5\n",  # turned round; one sentence alone; two of other pairs
    }
    header = "sentence1\tsentence2"
    for name, rows in files.items():
        score = "" if name == "train" else "\tscore"
        (tmp_path / f"{name}.tsv").write_text(f"{header}{score}\n{rows}")
    train, dev, test = (str(tmp_path / f"{name}.tsv") for name in files)
    options: dict[str, Any] = {"tokenizer": tokenizer, "batch_size": 2, "similarity_val": dev, "similarity_test": test}
    for leave_out, scores in ((False, [[1, 2], [3, 4, 5]]), (True, [[2], [4, 5]])):
        data = SentencePairs(train, train, leave_out_repeats=leave_out, **options)
        data.setup("fit")
        assert [data.similarity_scores(stage).tolist() for stage in ("val", "test")] == scores
        assert [len(data.scored[stage].pairs) for stage in ("val", "test")] == [len(part) for part in scores]
    (tmp_path / "dev.tsv").write_text(f"{header}\tscore\ng H\te f\t1\n")
    with pytest.raises(ValueError, match=r"`leave_out_repeats` must leave scored pairs to judge by; all 1 are train"):
        SentencePairs(train, train, leave_out_repeats=True, **options).setup("fit")


def test_the_repeats_of_the_real_stsb(shared_data: Path) -> None:
    columns = ("sentence1", "sentence2", "score")
    train, dev, test = (
        read_scored(shared_data / "stsb" / f"{part}.tsv.gz", columns) for part in ("train", "dev", "test")
    )
    known: dict[frozenset[str], set[float]] = {}
    for *pair, score in zip(*train.pairs, train.scores, strict=True):
        known.setdefault(frozenset(pair), set()).add(score)
    for held_out, repeats, others in ((dev, 7, 2), (test, 12, 9)):  # as docs/text.md says
        asked = [(frozenset(pair), score) for *pair, score in zip(*held_out.pairs, held_out.scores, strict=True)]
        scores = [score not in known[pair] for pair, score in asked if pair in known]
        assert (len(scores), sum(scores)) == (repeats, others)
        assert len(new_pairs(held_out, train.pairs).scores) == len(asked) - repeats
    sentences = [{text for side in part.pairs for text in side} for part in (train, test)]
    assert (len(sentences[1]), len(sentences[0] & sentences[1])) == (2552, 257)
