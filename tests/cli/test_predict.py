# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from helpers.short_run import SHORT

from lightning_monocon.cli.trainer import MonoConCLI, run
from lightning_monocon.inference.shards import Shards
from lightning_monocon.scorecard import EmbeddingSet


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("", "`--out` must name a folder, or a file that ends in .safetensors; got ''"),
        ("folder.safetensors", "`--out` must name a folder, or a file that ends in .safetensors; got 'folder"),
        ("file", "`--out` must be a folder that can be written; file is not (File exists). Choose another."),
        ("file/inside", "`--out` must be a folder that can be written; file/inside is not (Not a directory)."),
        ("file/all.safetensors", "`--out` must be a folder that can be written; file is not (File exists)."),
        ("/proc/x", "`--out` must be a folder that can be written; /proc/x is not ("),
        ("new/" + 300 * "x", "`--out` must be a folder that can be written; new/xxx"),
    ],
)
def test_an_out_that_cannot_be_written_is_refused_before_the_work(
    out: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MonoConCLI, "instantiate_classes", None)  # it is not called
    Path("file").write_text("mine")
    Path("folder.safetensors").mkdir()
    with pytest.raises(SystemExit) as stopped:
        run(["predict", "--config", "digits", "--untrained", "--out", out, *SHORT])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith(f"monocon: error: {sentence}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors"]
    assert Path("file").read_text() == "mine"


def test_predict_writes_gallery_and_query(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, out = str(finished / "checkpoints" / "last.ckpt"), tmp_path / "embeddings.safetensors"
    run(["predict", "--config", "digits", "--ckpt_path", checkpoint, "--out", str(out), *SHORT])
    data = EmbeddingSet.load(out)
    assert data.gallery.shape == (1131, 64)
    assert data.query.shape == (540, 64)
    assert capsys.readouterr().out.splitlines()[-1] == f"Written to {out}: gallery 1,131 x 64, query 540 x 64."


def test_predict_writes_a_folder_of_shards(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, out = str(finished / "checkpoints" / "last.ckpt"), tmp_path / "corpus"
    words = ["--out", str(out), "--shard_rows", "500", "--shard_kind", "parquet"]
    for _ in range(2):  # the second finds all rows there
        run(["predict", "--config", "digits", "--ckpt_path", checkpoint, *words, *SHORT])
        printed = capsys.readouterr().out.splitlines()
        assert printed[-1] == f"Written to {out}: gallery 1,131 x 64, query 540 x 64."
    assert Shards(out).read("gallery").embeddings.shape == (1131, 64)
    assert len(list(out.glob("gallery-*.parquet"))) == 3
