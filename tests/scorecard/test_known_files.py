# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

pytest.importorskip("pyarrow", reason="the text extra is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from lightning_monocon.inference.shards import Rows, ShardFolder, Space
from lightning_monocon.scorecard import known_files
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.known_files import Known, is_streamed, load_baseline, load_known
from lightning_monocon.scorecard.scores import measure_all
from lightning_monocon.scorecard.streamed import StreamedSet, measure_streamed

GALLERY = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
QUERY = GALLERY[:20] + 0.3 * torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


def parquet(path: Path, rows: Tensor, ids: list[object] | None = None, **more: list[object]) -> Path:
    columns = {"embedding": rows.tolist(), **({} if ids is None else {"id": ids}), **more}
    pq.write_table(pa.table(columns), path)
    return path


def table(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    return path


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """A gallery of two files whose rows come backwards, and queries."""
    (tmp_path / "corpus").mkdir()
    ids = [f"d{row}" for row in range(60)][::-1]
    parquet(tmp_path / "corpus" / "0.parquet", GALLERY.flip(0)[:40], ids[:40])
    parquet(tmp_path / "corpus" / "1.parquet", GALLERY.flip(0)[40:], ids[40:])
    names = [f"q{row}" for row in range(20)]
    return [tmp_path / "corpus", parquet(tmp_path / "q.parquet", QUERY, names, text=[f"t {name}" for name in names])]


@pytest.fixture
def qrels(tmp_path: Path) -> Path:
    return table(
        tmp_path / "test.tsv",
        ("query-id", "corpus-id", "score"),
        *((f"q{row}", f"d{row}", 1 + row % 2) for row in range(18)),
    )


def test_qrels_pairs_and_neighbours_of_a_folder(places: list[Path], qrels: Path, tmp_path: Path) -> None:
    pairs = table(tmp_path / "dev.tsv", ("id1", "id2", "score"), ("q0", "q1", 2), ("q2", "q0", 1))
    texts = table(tmp_path / "sts.tsv", ("sentence1", "sentence2", "score"), ("t q3", "t q5", 2), ("t q5", "t q4", 1))
    data = load_known(places, Known(qrels, (pairs, texts), neighbours=True))
    assert isinstance(data, EmbeddingSet)
    assert (data.arm, data.gallery_labels) == ("corpus", None)
    first, second, third, last = data.truths
    assert [truth.name for truth in data.truths] == ["test", "dev", "sts", "neighbours"]
    torch.testing.assert_close(first.row, 59 - first.query)  # by id, for the rows come backwards
    assert first.left_out == 2
    assert (second.left.tolist(), second.right.tolist()) == ([0, 2], [1, 0])
    assert (third.left.tolist(), third.right.tolist()) == ([3, 5], [5, 4])
    assert last.reference == "corpus"
    assert measure_all(data)[0].figures["mrr@10"] > 0.9


def test_a_gallery_too_large_for_memory_gives_the_same(
    places: list[Path], qrels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Known(qrels, neighbours=True)
    held = load_known(places, known)
    monkeypatch.setattr(known_files, "IN_MEMORY", 100)
    streamed = load_known([str(places[0] / "*.parquet"), places[1]], known)
    assert isinstance(held, EmbeddingSet)
    assert isinstance(streamed, StreamedSet)
    for found, expected in zip(measure_streamed(streamed), measure_all(held), strict=True):
        assert found.truth.key == expected.truth.key
        assert found.figures == expected.figures
        torch.testing.assert_close(found.spectrum, expected.spectrum, rtol=0, atol=0)
    with pytest.raises(ValueError, match="`baseline` must be left out where a gallery does not fit into memory"):
        load_baseline(places, places, known)


def test_a_baseline_comes_in_the_order_of_the_ids(places: list[Path], tmp_path: Path) -> None:
    other = parquet(tmp_path / "other.parquet", GALLERY + 1, [f"d{row}" for row in range(60)])
    found = load_baseline([other, places[1]], places, Known())
    torch.testing.assert_close(found.gallery.float(), (GALLERY + 1).flip(0))
    reference = load_known(places, Known(neighbours=True), found).truths[0]
    assert reference.reference == "other"


def test_integer_ids_of_a_baseline_count_as_much_as_texts(tmp_path: Path) -> None:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2)).tolist()
    ours = [parquet(tmp_path / "g.parquet", GALLERY, [*range(60)]), parquet(tmp_path / "q.parquet", QUERY)]
    for ids in (order, [str(row) for row in order]):
        theirs = [parquet(tmp_path / "b.parquet", GALLERY[order], [*ids]), ours[1]]
        found = load_baseline(theirs, ours, Known())
        torch.testing.assert_close(found.gallery.float(), GALLERY)
        torch.testing.assert_close(found.query.float(), QUERY)
    theirs[0] = parquet(tmp_path / "b.parquet", GALLERY[order])
    torch.testing.assert_close(load_baseline(theirs, ours, Known()).gallery.float(), GALLERY[order])  # without ids


@pytest.mark.parametrize("name", [str, int], ids=["texts", "integers"])
def test_a_baseline_of_other_ids_is_refused(tmp_path: Path, name: type) -> None:
    query = parquet(tmp_path / "q.parquet", QUERY)
    ours = parquet(tmp_path / "g.parquet", GALLERY, [name(row) for row in range(10, 70)])
    theirs = parquet(tmp_path / "b.parquet", GALLERY[:59], [name(row) for row in range(12, 71)])
    sentence = "ids of `files` in the gallery; it lacks 2 of 60 ids, and 1 of its own 59 .*: '10', '11', '70'. Embed"
    with pytest.raises(ValueError, match=sentence):
        load_baseline([theirs, query], [ours, query], Known())
    twice = parquet(tmp_path / "b.parquet", GALLERY, [name(row) for row in (*range(10, 69), 10)])
    with pytest.raises(ValueError, match="`ids` must be unique; '10' is the id of the rows 0 and 59"):
        load_baseline([twice, query], [ours, query], Known())


def test_a_query_does_not_find_the_row_with_its_own_id(tmp_path: Path) -> None:
    names = [f"d{row}" for row in range(20)]
    gallery, query = parquet(tmp_path / "g.parquet", GALLERY[:20], names), parquet(tmp_path / "q.parquet", QUERY, names)
    judged = table(tmp_path / "a.tsv", ("qid", "row", "rel"), ("d1", "d2", 1), ("d3", "d3", 1), ("d4", "d4", 0))
    (truth,) = load_known([gallery, query], Known(judged)).truths
    assert truth.excluded.tolist() == [[row, row] for row in range(20) if row != 3]  # which is said to be an answer
    numbers = [parquet(path, rows, [*range(20)]) for path, rows in ((gallery, GALLERY[:20]), (query, QUERY))]
    judged = table(tmp_path / "a.tsv", ("qid", "row", "rel"), (1, 2, 1))
    assert not len(load_known(numbers, Known(judged)).truths[0].excluded)  # a number means nothing in another file


def test_places_of_every_kind(tmp_path: Path) -> None:
    judged = table(tmp_path / "a.tsv", ("qid", "row", "rel"), *((row, row, 1) for row in range(20)))
    np.save(tmp_path / "gallery.npy", GALLERY.numpy())
    np.savez(tmp_path / "query.npz", embeddings=QUERY.numpy())
    save_file({"gallery": GALLERY, "query": QUERY}, tmp_path / "both.safetensors")
    folder = ShardFolder(tmp_path / "predicted", Space("m", 1, "safetensors", 30))
    for part, rows in (("gallery", GALLERY), ("query", QUERY)):
        folder.append(part, Rows(np.arange(len(rows)), rows.numpy(), None))
    folder.close(done=True)
    for files in (["gallery.npy", "query.npz"], ["both.safetensors"], ["predicted"]):
        data = load_known([tmp_path / file for file in files], Known(judged))
        torch.testing.assert_close(data.gallery, GALLERY)
        torch.testing.assert_close(data.query, QUERY)
        assert data.truths[0].units == 20
        assert is_streamed([tmp_path / file for file in files]) == (files == ["predicted"])


def test_columns_of_other_names(tmp_path: Path) -> None:
    for name, rows in (("g", GALLERY), ("q", QUERY)):
        pq.write_table(pa.table({"vec": rows.tolist(), "key": [*range(len(rows))][::-1]}), tmp_path / f"{name}.parquet")
    judged = table(tmp_path / "a.tsv", ("qid", "row", "rel"), (0, 0, 1))
    files = [f"{tmp_path}/{name}.parquet:vec" for name in "gq"]
    (truth,) = load_known(files, Known(judged, ids="key")).truths
    assert (truth.query.tolist(), truth.row.tolist()) == ([19], [59])
    assert is_streamed([f"{tmp_path}/*.parquet:vec"])


@pytest.mark.parametrize(("kind", "first"), [(pa.int64(), 2**63 - 60), (pa.uint64(), 2**64 - 60)], ids=str)
def test_ids_of_nineteen_digits(tmp_path: Path, kind: pa.DataType, first: int) -> None:
    files = [
        parquet(tmp_path / f"{name}.parquet", rows, pa.array([first + row for row in range(len(rows))], kind))
        for name, rows in (("g", GALLERY), ("q", QUERY))
    ]
    judged = table(tmp_path / "a.tsv", ("qid", "row", "rel"), (first + 19, first + 59, 1), (first + 18, first, 1))
    (truth,) = load_known(files, Known(judged)).truths
    assert (truth.query.tolist(), truth.row.tolist()) == ([18, 19], [0, 59])


def test_labels_in_words_are_a_truth_too(places: list[Path], qrels: Path, tmp_path: Path) -> None:
    words = [["ant", "bee"][row % 2] for row in range(60)]
    files = [
        parquet(tmp_path / "g.parquet", GALLERY, [f"d{row}" for row in range(60)], label=words),
        parquet(tmp_path / "l.parquet", QUERY, [f"q{row}" for row in range(20)], label=words[:20]),
    ]
    data = load_known(files, Known(qrels))
    assert [truth.kind for truth in data.judges()] == ["labels", "qrels"]
    torch.testing.assert_close(data.gallery_labels, torch.arange(60) % 2)


def test_a_column_that_is_only_called_label_is_ignored(qrels: Path, tmp_path: Path) -> None:
    names = {side: [f"{side}{row}" for row in range(60)] for side in "dq"}
    weights = [row / 7 for row in range(60)]
    files = [
        parquet(tmp_path / "g.parquet", GALLERY, names["d"], label=weights),
        parquet(tmp_path / "l.parquet", QUERY, names["q"][:20], label=weights[:20]),
    ]
    assert [truth.kind for truth in load_known(files, Known(qrels)).judges()] == ["qrels"]
    with pytest.raises(TypeError, match=r"`labels` must be integers or texts, one a row; .*:label holds float64"):
        load_known(files, Known(ids="id"))
    for name, rows in (("g", GALLERY), ("q", QUERY)):
        np.savez(tmp_path / f"{name}.npz", embeddings=rows, ids=names["d"][: len(rows)], labels=weights[: len(rows)])
    arrays = [tmp_path / "g.npz", tmp_path / "q.npz"]
    assert [truth.kind for truth in load_known(arrays, Known(neighbours=True)).truths] == ["neighbours"]


def predicted(folder: Path, ranks: int, names: Callable[[int], object] = int) -> Path:
    """A folder as `monocon predict` writes it, in which the ranks took turns."""
    for rank in range(ranks):
        writer = ShardFolder(folder, Space("m", ranks, "parquet", 30), rank)
        for part, rows in (("gallery", GALLERY), ("query", QUERY)):
            own = np.arange(rank, len(rows), ranks)
            writer.append(part, Rows(np.array([names(row) for row in own]), rows.numpy()[own], own % 2))
        writer.close(done=True)
    return folder


def test_a_folder_that_predict_wrote_gives_the_part_that_its_place_asks_for(tmp_path: Path) -> None:
    folder = predicted(tmp_path / "corpus", 1)
    for files in ([folder], [folder, folder], [f"{folder}:gallery", f"{folder}:query"]):
        data = load_known(files, Known())
        assert isinstance(data, EmbeddingSet)
        assert torch.equal(data.gallery, GALLERY) and torch.equal(data.query, QUERY)
        assert data.query_labels is not None and data.query_labels.tolist() == [row % 2 for row in range(len(QUERY))]
    swapped = load_known([f"{folder}:query", f"{folder}:gallery"], Known())
    assert isinstance(swapped, EmbeddingSet) and torch.equal(swapped.query, GALLERY)
    with pytest.raises(
        ValueError, match=r"`files` must name a part that the folder holds: gallery, query; got rows of"
    ):
        load_known([f"{folder}:rows", folder], Known())
    writer = ShardFolder(tmp_path / "three", Space("m", 1, "safetensors", 30))
    for number in range(3):
        writer.append(f"rows{number}", Rows(np.arange(20), QUERY.numpy(), None))
    with pytest.raises(ValueError, match=r"`files` must be finished; .*three' lacks rows of rank 0"):
        load_known([tmp_path / "three", folder], Known())
    writer.close(done=True)
    with pytest.raises(ValueError, match=r"rows0, rows1, rows2; got none of .*three'\. Write .*three:rows0"):
        load_known([tmp_path / "three", folder], Known())
    data = load_known([tmp_path / "three:rows1", folder], Known(neighbours=True))
    assert isinstance(data, EmbeddingSet) and torch.equal(data.gallery, QUERY)


def test_rows_that_processes_wrote_in_turns_are_compared_with_rows_without_ids(tmp_path: Path) -> None:
    plain = tmp_path / "plain.npz"
    np.savez(plain, gallery=GALLERY.numpy(), query=QUERY.numpy())
    folder = predicted(tmp_path / "corpus", 2)
    baseline = load_baseline([plain], [folder], Known())
    data = load_known([folder], Known())
    assert isinstance(data, EmbeddingSet) and not torch.equal(data.gallery, GALLERY)
    assert torch.equal(baseline.gallery, data.gallery) and torch.equal(baseline.query, data.query)
    back = load_baseline([folder], [plain], Known())
    assert torch.equal(back.gallery, GALLERY) and torch.equal(back.query, QUERY)
    named = predicted(tmp_path / "named", 2, "d{}".format)
    with pytest.raises(ValueError, match="`baseline` must have the ids of `files` in the gallery; it lacks 60 of 60"):
        load_baseline([plain], [named], Known())


def test_a_large_folder_that_predict_wrote_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ShardFolder(tmp_path, Space("m", 1, "safetensors", 30))
    for part, rows in (("gallery", GALLERY), ("query", QUERY)):
        folder.append(part, Rows(np.arange(len(rows)), rows.numpy(), np.arange(len(rows)) % 2))
    folder.close(done=True)
    monkeypatch.setattr(known_files, "IN_MEMORY", 100)
    data = load_known([tmp_path], Known())
    assert isinstance(data, StreamedSet)
    assert data.truths[0].kind == "labels"


def test_a_column_of_texts_is_named(tmp_path: Path) -> None:
    query = parquet(tmp_path / "q.parquet", QUERY, text=["a"] * len(QUERY))
    np.savez(tmp_path / "q.npz", embeddings=QUERY.numpy(), text=np.array(["a"] * len(QUERY)))
    for place in (f"{query}:text", f"{tmp_path / 'q.npz'}:text"):
        with pytest.raises(TypeError, match=rf"got array of <U1 in {place}: name the one that holds the vectors"):
            load_known([query, place], Known(neighbours=True))


def test_what_is_refused(places: list[Path], qrels: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`files` must be a gallery and a query, .*; got 3"):
        load_known([*places, places[0]], Known(qrels))
    texts = table(tmp_path / "sts.tsv", ("sentence1", "sentence2", "score"), ("a", "b", 2), ("b", "c", 1))
    with pytest.raises(ValueError, match="`pairs` must name a row by each id; 3 of 3 ids are unknown: 'a', 'b', 'c'"):
        load_known(places, Known(pairs=(texts,)))
    with pytest.raises(ValueError, match="`pairs` must name rows by id where the query has no column text or texts"):
        load_known([places[0], parquet(tmp_path / "bare.parquet", QUERY)], Known(pairs=(texts,)))
    wrong = table(tmp_path / "wrong.tsv", ("qid", "row", "rel"), ("q0", "e1", 1), ("q0", "e2", 1))
    with pytest.raises(ValueError, match=r"`qrels` must name a row of the gallery by each id; 2 of 2 .*: 'e1', 'e2'"):
        load_known(places, Known(wrong))
