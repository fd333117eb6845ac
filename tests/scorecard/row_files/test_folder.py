# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

pytest.importorskip("pyarrow", reason="the text extra is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from lightning_monocon.inference.shards import Kind, Rows, ShardFolder, Shards, Space
from lightning_monocon.scorecard.row_files import source as stream
from lightning_monocon.scorecard.row_files.array import ArrayRows
from lightning_monocon.scorecard.row_files.folder import CorpusRows, FileRows, files_of
from lightning_monocon.scorecard.row_files.source import blocks_of, whole_of

ROWS = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def parquet(path: Path, rows: Tensor, fixed: bool = False, **columns: object) -> None:
    flat = pa.array(rows.flatten().numpy())
    lists = (
        pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
        if fixed
        else pa.array(rows.tolist(), pa.list_(pa.float32()))
    )
    model = columns.pop("model", None)
    table = pa.table({"embedding": lists, **columns})
    pq.write_table(table.replace_schema_metadata({"model": model} if model else None), path, row_group_size=7)


def written(folder: Path, kind: str) -> list[Path]:
    """Write all rows into three files."""
    for number, part in enumerate(torch.split(torch.arange(50), [20, 1, 29])):
        path = folder / f"part-{number}.{kind.split()[0]}"
        if kind == "safetensors":
            save_file({"embeddings": ROWS[part], "ids": part * 10, "labels": part % 3}, path)
        else:
            ids = pa.array([f"d{row}" for row in part.tolist()])
            parquet(path, ROWS[part], "fixed" in kind, id=ids, label=part.numpy() % 3)
    found = files_of(folder)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["safetensors", "parquet", "parquet fixed"])
def test_files_are_one_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(stream, "BLOCK", 16)
    source = FileRows(written(tmp_path, kind))
    assert (source.length, source.width, source.dtype) == (50, 4, torch.float32)
    blocks = list(blocks_of(source))
    assert [len(block) for block in blocks] == [16, 16, 16, 2]
    torch.testing.assert_close(torch.cat(blocks), ROWS, rtol=0, atol=0)
    torch.testing.assert_close(whole_of(source), ROWS, rtol=0, atol=0)
    ids = np.concatenate(list(source.ids())).tolist()
    assert ids == ([row * 10 for row in range(50)] if kind == "safetensors" else [f"d{row}" for row in range(50)])
    np.testing.assert_array_equal(source.labels(), np.arange(50) % 3)


@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_the_folder_that_predict_writes(tmp_path: Path, kind: Kind) -> None:
    folder = ShardFolder(tmp_path, Space("model", 1, kind, 30))
    for part in torch.split(torch.arange(50), [30, 20]):
        folder.append("gallery", Rows(part.numpy(), ROWS[part].numpy(), part.numpy() % 3))
    folder.close(True)
    source = CorpusRows(Shards(tmp_path), "gallery")
    assert (source.length, source.width) == (50, 4)
    torch.testing.assert_close(whole_of(source), ROWS, rtol=0, atol=0)
    assert np.concatenate(list(source.ids())).tolist() == list(range(50))
    np.testing.assert_array_equal(source.labels(), np.arange(50) % 3)


def test_row_numbers_stand_for_ids_and_named_arrays_are_read(tmp_path: Path) -> None:
    for name, part in (("a", ROWS[:30]), ("b", ROWS[30:])):
        save_file({"vector": part.half(), "key": torch.arange(len(part))}, tmp_path / f"{name}.safetensors")
    paths = sorted(tmp_path.iterdir())
    source = FileRows(paths, "vector")
    assert np.concatenate(list(source.ids())).tolist() == list(range(50))
    assert source.labels() is None
    torch.testing.assert_close(whole_of(source), ROWS.half().float(), rtol=0, atol=0)
    assert np.concatenate(list(FileRows(paths, "vector", "key").ids())).tolist() == [*range(30), *range(20)]


def test_a_glob_and_what_is_no_folder(tmp_path: Path) -> None:
    paths = written(tmp_path, "safetensors")
    assert files_of(str(tmp_path / "part-[01].*")) == paths[:2]
    assert files_of(paths[0]) is None
    with pytest.raises(FileNotFoundError, match=r"`files` must match a file; none is called .*\*\.npy"):
        files_of(str(tmp_path / "*.npy"))
    parquet(tmp_path / "more.parquet", ROWS)
    with pytest.raises(ValueError, match=r"`files` must be a folder or glob of .* has \.parquet, \.safetensors: name"):
        files_of(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"`files` must be a folder or glob of .*empty' has none: write"):
        files_of(tmp_path / "empty")


def test_files_of_two_widths_or_models_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", ROWS, model="one")
    parquet(tmp_path / "b.parquet", ROWS[:, :3], model="one")
    with pytest.raises(ValueError, match=r"`files` must hold rows of one width; .*a.parquet has 4 .*b.parquet has 3"):
        FileRows(sorted(tmp_path.iterdir()))
    parquet(tmp_path / "b.parquet", ROWS, model="two")
    with pytest.raises(ValueError, match=r"`files` must come from one model; .* is stamped one and .* two\. Emb"):
        FileRows(sorted(tmp_path.iterdir()))


def test_lists_that_change_their_length_are_refused(tmp_path: Path) -> None:
    table = pa.table({"embedding": [*ROWS[:20].tolist(), *ROWS[20:, :3].tolist()]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"`files` must hold lists of one length .*:embedding from row 0 on have 3"):
        list(blocks_of(FileRows([tmp_path / "a.parquet"])))
    table = pa.table({"embedding": [*ROWS.repeat(164, 1)[:8192].tolist(), *ROWS[20:, :3].tolist()]})
    pq.write_table(table, tmp_path / "a.parquet")  # where a new batch begins
    with pytest.raises(ValueError, match=r"have 4 numbers and .*a\.parquet has the shape \(30, 3\) from row 8192 on"):
        list(blocks_of(FileRows([tmp_path / "a.parquet"])))


def test_a_row_that_is_not_finite_is_named(tmp_path: Path) -> None:
    paths = written(tmp_path, "safetensors")
    rows = ROWS.clone()
    rows[[3, 9], 2] = torch.nan
    save_file({"embeddings": rows, "ids": torch.arange(50), "labels": torch.arange(50)}, paths[1])
    with pytest.raises(ValueError, match=r"`files` must be finite; row 3 of .*part-1.* holds NaN .* and 1 of the"):
        list(blocks_of(FileRows(paths)))


@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    paths = written(tmp_path, kind)
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"`files` must be whole \.{kind} files; .*part-1.* is not"):
        FileRows(paths)


def test_what_one_file_lacks_is_said(tmp_path: Path) -> None:
    paths = written(tmp_path, "safetensors")
    with pytest.raises(ValueError, match=r"`files` must hold vector here; .*part-0.* ids, labels: name .* as part-0"):
        FileRows(paths, "vector")
    with pytest.raises(ValueError, match=r"must hold key here; .* ids, labels: name another column of ids, or none"):
        FileRows(paths, ids="key")
    save_file({"embeddings": ROWS}, paths[1])
    with pytest.raises(ValueError, match=r"`files` must all have ids, or none; .*part-1\.safetensors has none"):
        FileRows(paths)
    for path in paths:
        save_file({"embeddings": torch.arange(8).view(2, 4)}, path)
    with pytest.raises(ValueError, match=r"`files` must hold rows of floating-point numbers; .* holds torch\.int64"):
        FileRows(paths)
    for path in paths:
        save_file({"embeddings": ROWS, "ids": ROWS.clone()}, path)
    with pytest.raises(TypeError, match=r"`ids` must be integers or texts, one a row; .*:ids holds float32 of shape"):
        list(FileRows(paths).ids())


@pytest.mark.parametrize("place", [0, 2, 9], ids=["first", "middle", "last"])
def test_files_without_rows_are_skipped(tmp_path: Path, place: int) -> None:
    paths = written(tmp_path, "parquet")
    empty = tmp_path / f"part-{place}-empty.parquet"
    pq.write_table(pq.read_table(paths[0])[:0], empty)
    source = FileRows(sorted([*paths, empty]))
    torch.testing.assert_close(whole_of(source), ROWS, rtol=0, atol=0)
    assert np.concatenate(list(source.ids())).tolist() == [f"d{row}" for row in range(50)]
    np.testing.assert_array_equal(source.labels(), np.arange(50) % 3)


def test_files_of_which_none_has_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"embedding": pa.array([], pa.list_(pa.float32()))}), path)
    with pytest.raises(ValueError, match=r"`files` must hold at least one row; .*0\.parquet has no rows\. Embed"):
        FileRows([path])
    with pytest.raises(ValueError, match=r"0\.parquet and 1 more have no rows"):
        FileRows([path, path])


def test_files_without_rows_are_skipped_whatever_their_format(tmp_path: Path) -> None:
    save_file({"embeddings": ROWS[:20]}, tmp_path / "0.safetensors")
    save_file({"embeddings": ROWS[:0]}, tmp_path / "1.safetensors")
    save_file({"embeddings": ROWS[20:]}, tmp_path / "2.safetensors")
    source = FileRows(sorted(tmp_path.glob("*.safetensors")))
    torch.testing.assert_close(whole_of(source), ROWS, rtol=0, atol=0)


def test_arrays_without_rows_are_refused(tmp_path: Path) -> None:
    save_file({"embeddings": ROWS[:0]}, tmp_path / "0.safetensors")
    with pytest.raises(ValueError, match=r"`files` must hold at least one row; .*0\.safetensors has no rows\. Embed"):
        FileRows([tmp_path / "0.safetensors"])
    np.save(tmp_path / "0.npy", ROWS[:0].numpy())
    with pytest.raises(ValueError, match=r"`files` must hold at least one row; .*0\.npy has no rows\. Embed"):
        ArrayRows(tmp_path / "0.npy", "")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:, 0], r"0\.npy holds torch\.float32 of shape \(50,\): write a matrix of one row a vector\."),
        (ROWS[:, :, None], r"of shape \(50, 4, 1\): write a matrix"),
        (ROWS[:, :0], r"of shape \(50, 0\): write a matrix"),
        ((100 * ROWS).to(torch.int8), r"holds torch\.int8 of shape \(50, 4\): convert integers to float32\."),
    ],
    ids=["vector", "cube", "no width", "integers"],
)
def test_arrays_that_hold_no_embeddings_are_refused(rows: torch.Tensor, reason: str, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", rows.numpy())
    with pytest.raises(ValueError, match=f"`files` must hold rows of floating-point numbers; .*{reason}"):
        ArrayRows(tmp_path / "0.npy", "")


def test_what_one_array_file_lacks_is_said_with_the_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", ROWS.numpy())
    np.savez(tmp_path / "0.npz", gallery=ROWS.numpy(), query=ROWS.numpy())
    with pytest.raises(ValueError, match=r"hold vec here; .*0\.npy holds one array without a name: leave the name"):
        ArrayRows(tmp_path / "0.npy", "vec")
    with pytest.raises(ValueError, match=r"hold embeddings here; .* holds gallery, query: name .* as 0\.npz:NAME"):
        ArrayRows(tmp_path / "0.npz", "embeddings")
    with pytest.raises(ValueError, match=r"hold key here; .*0\.npy holds one array .*: name another column of ids, or"):
        ArrayRows(tmp_path / "0.npy", "", "key")


@pytest.mark.parametrize(
    ("names", "remedy"),
    [(["a.npy"], "'rows' has none: write the rows to such files"), (["a.parquet", "b.safetensors"], "name those")],
)
def test_a_folder_of_other_files_is_refused_with_the_remedy(
    names: list[str], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows").mkdir()
    for name in names:
        Path("rows", name).touch()
    with pytest.raises(ValueError, match=f"`files` must be a folder or glob of .* files alone; .*{remedy}"):
        files_of("rows")
