# SPDX-License-Identifier: Apache-2.0
"""A shell leaves the ``~`` of ``--out=~/x`` as it is, so every command expands it; test_trainer.py has whole runs."""

from pathlib import Path

import pytest

from lightning_monocon.cli import compare, export, main, score


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_options_that_are_paths_are_expanded(home: Path) -> None:
    compared, _ = compare.parser().parse(["--config=digits", "--out=~/o"])
    exported, _ = export.parser().parse(["--config=digits", "--ckpt=~/c.ckpt", "--out=~/o", "--tokenizer=~/t"])
    scored, _ = score.parser().parse(["~/g.npz", "~/q.npz", "--baseline=~/b.npz", "--gallery=~/g.npy", "--out=~/o"])
    assert compared.out == exported.out == scored.out == str(home / "o")
    assert (exported.ckpt, exported.tokenizer) == (str(home / "c.ckpt"), str(home / "t"))
    assert scored.files == [str(home / "g.npz"), str(home / "q.npz")]
    assert (scored.baseline, scored.gallery) == ([str(home / "b.npz")], str(home / "g.npy"))


def test_landscape_looks_for_its_runs_at_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["landscape", "~/run", f"--out={home / 'o'}"])
    assert str(home / "run") in capsys.readouterr().err
