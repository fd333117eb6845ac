# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lightning_monocon.inference.shards import Kind, Rows, ShardFolder, Space
from lightning_monocon.scorecard import EmbeddingSet, score_files
from lightning_monocon.scorecard.files import load_files

Planted = Callable[..., EmbeddingSet]
PARTS = ("gallery", "gallery_labels", "query", "query_labels")


@pytest.fixture
def data(planted: Planted) -> EmbeddingSet:
    return planted(rows=(200, 80), dim=8, rank=8)


def same(found: EmbeddingSet, data: EmbeddingSet) -> None:
    for name in PARTS:
        torch.testing.assert_close(getattr(found, name), getattr(data, name), rtol=0, atol=0)


def save_parts(folder: Path, data: EmbeddingSet) -> list[Path]:
    paths = [folder / f"{name}.npy" for name in PARTS]
    for path, name in zip(paths, PARTS, strict=True):
        np.save(path, getattr(data, name).numpy())
    return paths


def test_one_file_with_everything(tmp_path: Path, data: EmbeddingSet) -> None:
    same(load_files([data.save(tmp_path / "mine.safetensors")]), data)
    np.savez(tmp_path / "all.npz", **{name: getattr(data, name).numpy() for name in PARTS})
    found = load_files([tmp_path / "all.npz"])
    same(found, data)
    assert found.arm == "all"


def test_two_files_with_a_split_each(tmp_path: Path, data: EmbeddingSet) -> None:
    save_file({"embeddings": data.gallery, "labels": data.gallery_labels}, tmp_path / "train.safetensors")
    np.savez(tmp_path / "test.npz", embeddings=data.query.numpy(), labels=data.query_labels.numpy(), other=np.ones(1))
    same(load_files([tmp_path / "train.safetensors", str(tmp_path / "test.npz")]), data)


def test_four_files_with_an_array_each(tmp_path: Path, data: EmbeddingSet) -> None:
    same(load_files(save_parts(tmp_path, data)), data)


def test_labels_in_words_are_numbered_alike_in_both_splits(tmp_path: Path, data: EmbeddingSet) -> None:
    paths = save_parts(tmp_path, data)
    names = np.array(["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"])
    for path, labels in ((paths[1], data.gallery_labels), (paths[3], data.query_labels)):
        np.save(path, names[labels.numpy()])
    same(load_files(paths), data)


def test_parquet_columns(tmp_path: Path, data: EmbeddingSet) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = np.array(["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"])
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(data.gallery.numpy().ravel()), 8)
    lists = pa.array(data.query.tolist(), type=pa.list_(pa.float32()))
    for name, column, labels in (("train", fixed, data.gallery_labels), ("test", lists, data.query_labels)):
        words = pa.array(names[labels.numpy()].tolist())
        parquet.write_table(pa.table({"embeddings": column, "labels": words}), tmp_path / f"{name}.parquet")
    same(load_files([tmp_path / "train.parquet", tmp_path / "test.parquet"]), data)
    parquet.write_table(
        pa.table({"embeddings": pa.array([[1.0], [1.0, 2.0, 3.0]]), "labels": [0, 1]}), tmp_path / "ragged.parquet"
    )
    with pytest.raises(ValueError, match=r"lists of one length .*; those of .*ragged.parquet:embeddings have 1 to 3"):
        load_files([tmp_path / "ragged.parquet", tmp_path / "test.parquet"])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ModuleNotFoundError, match=r"`files` in Parquet need pyarrow; .*: `pip install pyarrow`"):
        load_files([tmp_path / "a.parquet"] * 2)


def test_files_are_scored_and_judged_against_a_baseline(tmp_path: Path, planted: Planted) -> None:
    before = planted(noise=1.2).save(tmp_path / "before.safetensors")
    after = planted(draw=1, rank=6, noise=0.3, arm="after").save(tmp_path / "after.safetensors")
    found = score_files([after], baseline=[before])
    assert found.verdict is not None and (found.arm, found.n99, found.verdict.word) == ("after", 6, "compact")
    assert score_files([after], dims=[2, 4]).frontier.dims == (2, 4, 6, 16)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_another_number_of_files_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"`files` must be one file with everything, two .*; got {count}"):
        load_files(["x.npy"] * count)


def test_unknown_missing_and_damaged_files_are_named(tmp_path: Path, data: EmbeddingSet) -> None:
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"`files` must end in .npy, .npz, .safetensors, .parquet; got x.csv"):
        load_files([tmp_path / "x.csv"])
    with pytest.raises(FileNotFoundError, match=r"`files` must exist; there is none at .*nowhere.npy"):
        load_files([tmp_path / "nowhere.npy"])
    for name in ("x.npy", "x.npz", "x.safetensors"):
        (tmp_path / name).write_bytes(b"\x07" * 40)
        with pytest.raises(
            ValueError, match=rf"`files` must be whole {tmp_path.joinpath(name).suffix} files; .* is not"
        ):
            load_files([tmp_path / name])
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(
        TypeError, match=r"pickled.npy holds Python objects, which are never unpickled: save strings as"
    ):
        load_files([tmp_path / "pickled.npy"] * 4)


def test_a_file_of_another_layout_says_what_it_holds(tmp_path: Path, data: EmbeddingSet) -> None:
    np.savez(tmp_path / "odd.npz", vectors=np.ones((3, 2)))
    with pytest.raises(
        ValueError, match=r"must hold embeddings or embedding, labels or label here; .*odd.npz lacks .* and holds v"
    ):
        load_files([tmp_path / "odd.npz"] * 2)
    path = save_parts(tmp_path, data)[0]
    for files in ([path], [path, path]):
        with pytest.raises(ValueError, match=r"holds one array without a name"):
            load_files(files)
    np.savez(tmp_path / "two.npz", a=np.ones(1), b=np.ones(1))
    with pytest.raises(ValueError, match=r"must hold one array each when there are four, .*two.npz holds a, b: write"):
        load_files([tmp_path / "two.npz"] * 4)


def test_words_in_one_split_only_are_refused(tmp_path: Path, data: EmbeddingSet) -> None:
    paths = save_parts(tmp_path, data)
    np.save(paths[1], np.array(["a"] * 200))
    with pytest.raises(
        TypeError, match=r"`files` must hold labels of one kind, .*; got <U1 in the gallery and int64 in the query"
    ):
        load_files(paths)


@pytest.mark.parametrize("names", [("embeddings", "labels"), ("embedding", "label"), ("embedding", "labels")])
@pytest.mark.parametrize("kind", ["npz", "safetensors", "parquet"])
def test_plural_and_singular_names_are_taken_everywhere(
    tmp_path: Path, data: EmbeddingSet, names: tuple[str, str], kind: str
) -> None:
    files = [tmp_path / f"{part}.{kind}" for part in ("gallery", "query")]
    for part, path in zip(("gallery", "query"), files, strict=True):
        arrays = dict(zip(names, (getattr(data, part), getattr(data, f"{part}_labels")), strict=True))
        write(path, {**arrays, "extra": arrays[names[1]]})
    same(load_files(files), data)
    same(load_files([files[0], files[0], files[1], files[1]]), data)


def write(path: Path, arrays: dict[str, torch.Tensor]) -> None:
    if path.suffix == ".parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = pa.list_(pa.float32())
        table = {name: pa.array(array.tolist(), rows if array.ndim == 2 else None) for name, array in arrays.items()}
        parquet.write_table(pa.table(table), path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: array.numpy() for name, array in arrays.items()})
    else:
        save_file({name: array.clone().contiguous() for name, array in arrays.items()}, path)


def corpus(folder: Path, data: EmbeddingSet, labelled: bool = True, kind: Kind = "parquet") -> Path:
    """Two ranks' shards of both parts, as `monocon predict` writes them; the rows of the ranks take turns."""
    for rank in range(2):
        shards = ShardFolder(folder, Space("m", 2, kind, 64), rank)
        for part in ("gallery", "query"):
            ids = np.arange(rank, len(getattr(data, part)), 2)
            labels = getattr(data, f"{part}_labels").numpy()[ids] if labelled else None
            shards.append(part, Rows(ids, getattr(data, part).numpy()[ids], labels))
        shards.close(done=True)
    return folder


@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_the_corpus_that_predict_writes(tmp_path: Path, data: EmbeddingSet, kind: Kind) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    found = load_files([corpus(tmp_path / "corpus", data, kind=kind)])
    same(found, data)
    assert found.arm == "corpus"
    same(load_files([corpus(tmp_path / "bare", data, labelled=False, kind=kind)], labels=data), data)


def test_a_folder_that_is_no_finished_corpus_is_refused(tmp_path: Path, data: EmbeddingSet) -> None:
    def refused(folder: Path, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            load_files([folder])

    refused(tmp_path, "`files` must be files, or a folder that `monocon predict` finished; .* is not")
    refused(corpus(tmp_path / "bare", data, False, "safetensors"), "`files` must hold labels; .*bare was written of")
    torn = corpus(tmp_path / "torn", data, kind="safetensors")
    shard = next(torn.glob("query-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    refused(torn, "a folder that `monocon predict` finished; .*torn is not: .* it was cut short or altered")
    (torn / "space.json").write_text('{"format": "lightning-mon')
    refused(torn, "a folder that `monocon predict` finished; .*torn is not: ")
    (torn / "space.json").write_text('{"format": "lightning-monocon/shards/1"}')
    refused(torn, "a folder that `monocon predict` finished; .*torn is not: ")


def test_a_name_for_a_file_with_everything_is_refused(tmp_path: Path, data: EmbeddingSet) -> None:
    np.savez(tmp_path / "all.npz", **{name: getattr(data, name).numpy() for name in PARTS})
    with pytest.raises(ValueError, match=r"must be two or four where one names an array; got all.npz:gallery alone"):
        load_files([f"{tmp_path / 'all.npz'}:gallery"])


def test_two_precisions_meet_in_the_wider_one(tmp_path: Path, data: EmbeddingSet) -> None:
    for narrow in (torch.float16, torch.float32):
        wide = {"gallery": data.gallery.to(narrow), "query": data.query.double()}
        save_file({name: wide.get(name, getattr(data, name)) for name in PARTS}, tmp_path / "mixed.safetensors")
        found = load_files([tmp_path / "mixed.safetensors"])
        torch.testing.assert_close(found.gallery, wide["gallery"].double(), rtol=0, atol=0)
        torch.testing.assert_close(found.query, wide["query"], rtol=0, atol=0)
        assert score_files([tmp_path / "mixed.safetensors"]).knn_accuracy > 0.5


def test_labels_that_are_missing_are_told_apart_from_labels_of_another_kind(tmp_path: Path, data: EmbeddingSet) -> None:
    paths = save_parts(tmp_path, data)
    labels = data.gallery_labels.double().numpy()
    labels[[3, 9]] = np.nan
    np.save(paths[1], labels)
    with pytest.raises(ValueError, match=r"a label for every row; 2 of 200 are NaN \(row 3 is the first\): drop"):
        load_files(paths)


def test_a_bfloat16_file_without_integer_labels_is_named(tmp_path: Path, data: EmbeddingSet) -> None:
    parts = {name: getattr(data, name) for name in PARTS}
    save_file({**parts, "gallery": data.gallery.bfloat16()}, tmp_path / "half.safetensors")
    torch.testing.assert_close(
        load_files([tmp_path / "half.safetensors"]).gallery, data.gallery.bfloat16().float(), rtol=0, atol=0
    )
    save_file({**parts, "gallery_labels": data.gallery_labels.bfloat16()}, tmp_path / "odd.safetensors")
    with pytest.raises(TypeError, match=r"`gallery_labels` must be integers; got torch.bfloat16\. Cast"):
        load_files([tmp_path / "odd.safetensors"])
