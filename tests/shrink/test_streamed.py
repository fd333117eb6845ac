# SPDX-License-Identifier: Apache-2.0
"""A gallery in files gives what the same gallery in memory gives, and a large one is certified on all its rows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lightning_monocon.cli import main
from lightning_monocon.codes import FittingRows, load
from lightning_monocon.codes.candidates import FAMILIES, candidates
from lightning_monocon.functional.neighbours import neighbours
from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.scorecard.truths import LabelTruth, QrelsTruth
from lightning_monocon.shrink import Task, all_rows, run, task
from lightning_monocon.shrink import rows as gallery_rows
from lightning_monocon.shrink.all_rows import border
from lightning_monocon.shrink.engine import fitting_rows
from lightning_monocon.shrink.rows import StoredRows, blocks, rows_of, survey


def drawn(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=(count, 16)) * np.linspace(2, 0.2, 16) + 0.1).astype(np.float32)


def written(path: Path, rows: np.ndarray, **columns: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    pq.write_table(pa.table({"embedding": column, **columns}), path, row_group_size=150)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = drawn(1400)
    for number, part in enumerate(np.split(rows[:1000], [300, 310, 800])):
        first = 1000 * number
        ids = [f"row {first + place}" for place in range(len(part))]
        written(tmp_path / "rows" / f"{number}.parquet", part, id=ids, label=np.arange(len(part)) % 4)
    ids = ["row 5", "row 1003", *(f"query {place}" for place in range(398))]
    written(tmp_path / "query.parquet", rows[1000:], id=ids, label=np.arange(400) % 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_monocon.codes.candidates.BUDGETS", (2, 4, 8))
    monkeypatch.setattr(run, "candidates", partial(candidates, families=FAMILIES[:1] + FAMILIES[2:5]))
    return tmp_path


def shrink(out: str, *words: str) -> dict[str, Any]:
    main(["shrink", "rows", "--out", out, *words])
    found: dict[str, Any] = json.loads(Path(out, "shrink.json").read_text())
    return found


@pytest.mark.parametrize(
    "words",
    [("--queries", "query.parquet"), (), ("--labels",)],
    ids=["twins of queries left out", "queries held out", "labels"],
)
def test_rows_in_files_give_the_bytes_of_rows_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    words = (*words, "--keep", "0.5")
    shrink("memory", *words)
    monkeypatch.setattr(gallery_rows, "HELD_NUMBERS", 0)

    def held(*_: Any) -> None:
        raise AssertionError("the whole gallery was read into memory")

    monkeypatch.setattr(gallery_rows, "whole_of", held)
    shrink("files", *words)
    files, memory = ({path.name: path.read_bytes() for path in Path(out).iterdir()} for out in ("files", "memory"))
    assert {"codes.npy", "domain.json", "ids.npy", "queries.npz", "shrink.json"} <= {*files} and files == memory


def test_stored_rows_are_those_of_a_tensor(folder: Path) -> None:
    source = FileRows(sorted(Path("rows").iterdir()))
    whole = torch.from_numpy(drawn(1400)[:1000])
    kept = torch.rand(1000, generator=torch.Generator().manual_seed(0)) < 0.5
    kept[300:310] = False  # a file of which nothing is left
    stored, held = StoredRows(source, kept), rows_of(source, kept)
    assert isinstance(held, torch.Tensor) and torch.equal(held, whole[kept])
    assert stored.shape == (len(stored), 16) == tuple(held.shape)
    numbers = torch.tensor([3, 0, len(stored) - 1, 100])
    assert torch.equal(stored[numbers], held[numbers])
    assert torch.equal(torch.cat(list(blocks(stored))), held)
    assert survey(stored).digest == survey(held).digest != survey(whole).digest

    numbers = torch.arange(0, len(stored), 3)
    found, known = fitting_rows(stored, numbers, seed=1), FittingRows.of(held[numbers], seed=1)
    assert torch.equal(found.statistics.comoment, known.statistics.comoment)
    assert torch.equal(found.sample, known.sample)


def test_a_large_gallery_is_compared_on_a_sample_and_certified_on_all_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--queries", "query.parquet", "--keep", "0.7")
    monkeypatch.setattr(gallery_rows, "HELD_NUMBERS", 0)
    monkeypatch.setattr(run, "CHOOSING_ROWS", 600)
    found = shrink("out", *words)
    assert found["rows"]["gallery"] == 998 and found["rows"]["compared"] == 600
    assert "Codes were compared on 600 rows" in capsys.readouterr().out

    # the estimate is that of a brute-force search over all codes
    codec, codes = load("out"), np.load("out/codes.npy")
    rows = np.delete(drawn(1400)[:1000], [5, 303], axis=0)
    np.testing.assert_array_equal(codes, codec.encode(rows))
    query = torch.from_numpy(drawn(1400)[1000:])
    true = neighbours(torch.from_numpy(rows), query, 10).indices.numpy()
    near = np.argsort(-codec.score(query.numpy(), codes), axis=1)[:, :10]
    overlap = np.array([len({*a} & {*b}) / 10 for a, b in zip(true, near, strict=True)])
    certify = run.split(998, 400, 0).certify.numpy()
    assert abs(found["quality"]["estimate"] - overlap[certify].mean()) < 0.01
    assert found["quality"]["low"] >= 0.7

    for name, share in (("out", 0.7), ("budget", 0.0)):
        if name == "budget":
            found = shrink(name, "--queries", "query.parquet", "--budget", "4")
            assert found["chosen"]["bytes_per_vector"] == 4
        sampled = {line["name"]: line["quality"]["estimate"] for line in found["codes"]}
        # among fewer rows a code finds more of the true ones
        assert share <= found["quality"]["estimate"] < sampled[found["chosen"]["name"]]


def test_a_killed_run_of_a_large_gallery_does_not_encode_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--queries", "query.parquet", "--keep", "0.7")
    monkeypatch.setattr(run, "CHOOSING_ROWS", 600)
    shrink("out", *words)
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    Path("out").rename("before")

    with monkeypatch.context() as patch:
        patch.setattr(all_rows, "qualities", killed)
        with pytest.raises(SystemExit, match="130"):
            shrink("out", *words)
    (kept,) = Path("out/parts").glob("*.npy")
    written_at, choose = kept.stat().st_mtime_ns, run.chosen

    def chosen(*args: Any) -> Any:
        assert kept.stat().st_mtime_ns == written_at
        return choose(*args)

    monkeypatch.setattr(run, "chosen", chosen)
    shrink("out", *words)
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == first


def killed(given: Task, codec: Any, codes: Any = None) -> torch.Tensor:
    if codec is None:
        return torch.ones(400, dtype=torch.float64)
    raise KeyboardInterrupt


@pytest.mark.parametrize("guess", range(5))
def test_the_border_is_found_from_any_guess(guess: int) -> None:
    for smallest in range(6):
        asked: list[int] = []

        def passes(place: int, smallest: int = smallest, asked: list[int] = asked) -> bool:
            asked.append(place)
            return place >= smallest

        assert list(border(5, guess, passes)) == [n for n in range(smallest - 1, smallest + 2) if 0 <= n < 5]
        assert len(asked) == len({*asked}) <= abs(guess - smallest) + 2


def test_which_codes_are_certified_does_not_depend_on_the_certifying_queries(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHOOSING_ROWS", 600)
    certify, tested = run.split(998, 400, 0).certify, []
    chosen, judge = run.chosen, all_rows.qualities
    monkeypatch.setattr(
        run, "chosen", lambda best, *rest: (tested.append([x.name for x in best]), chosen(best, *rest))[1]
    )

    def altered(given: Task, codec: Any, codes: Any = None) -> torch.Tensor:
        values = judge(given, codec, codes)
        values[certify] = 1.0
        return values

    words = ("--queries", "query.parquet", "--keep", "0.6")
    first = shrink("first", *words)
    monkeypatch.setattr(all_rows, "qualities", altered)
    second = shrink("second", *words)
    assert tested[0] == tested[1] and len(tested[0]) > 1
    assert second["chosen"]["name"] == tested[0][0] and second["quality"]["estimate"] > first["quality"]["estimate"]


def test_a_sample_keeps_the_answers() -> None:
    rows = torch.from_numpy(drawn(1000))
    one = torch.arange(40)
    qrels = QrelsTruth(query=one, row=one * 25, grade=torch.ones_like(one), queries=40, rows=1000)
    few = Task(rows, rows[::25], qrels).sampled(200, seed=0)
    assert isinstance(few.truth, QrelsTruth) and 200 <= len(few.gallery) < 240
    assert isinstance(few.gallery, torch.Tensor)
    assert torch.equal(few.gallery[few.truth.row], rows[one * 25])

    labels = LabelTruth(torch.arange(1000) % 7, one % 7)
    few = Task(rows, rows[::25], labels).sampled(200, seed=0)
    places = [int((rows == row).all(1).nonzero()) for row in few.gallery]
    assert torch.equal(few.truth.gallery, torch.tensor(places) % 7)  # type: ignore[attr-defined]


def test_a_second_corpus_is_read_as_far_as_it_is_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "SECOND_ROWS", 200)
    second = task.second_task("rows", 16)
    both = torch.cat([torch.as_tensor(second.gallery[torch.arange(len(second.gallery))]), second.query])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, drawn(1400)[:200].tolist()))
