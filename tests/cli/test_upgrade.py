# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lightning_monocon.cli import main


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write an old model, a turned copy of it, and qrels."""
    draw = np.random.default_rng(0)
    centres, turn = draw.normal(size=(5, 6)), np.linalg.qr(draw.normal(size=(6, 6)))[0]
    labels = [draw.integers(0, 5, count) for count in (60, 40)]
    gallery, query = (centres[each] + 0.3 * draw.normal(size=(len(each), 6)) for each in labels)
    np.savez(tmp_path / "old.npz", gallery=gallery, gallery_labels=labels[0], query=query, query_labels=labels[1])
    np.savez(tmp_path / "new.npz", gallery=gallery @ turn, query=query @ turn)
    for name, side in (("gallery", gallery), ("query", query)):
        np.save(tmp_path / f"{name}.npy", side)
        np.save(tmp_path / f"new_{name}.npy", side @ turn)
    np.savez(tmp_path / "broken.npz", gallery=np.full_like(gallery, np.nan), query=query)
    np.savez(tmp_path / "short.npz", gallery=gallery[1:], query=query)
    np.savez(tmp_path / "named.npz", embeddings=gallery, ids=np.arange(60))
    np.savez(tmp_path / "others.npz", embeddings=gallery, ids=np.arange(60) + 1)
    nearest = (query @ gallery.T).argmax(1)
    lines = [f"{i}\t{row}\t1" for i, row in enumerate(nearest)]
    (tmp_path / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return {path.stem: str(path) for path in tmp_path.iterdir()}


def test_labels_judge_an_upgrade(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["upgrade", "--old", files["old"], "--new", files["new"], "--free", files["new"]])
    said = capsys.readouterr().out
    assert "Bottom line: Keep the old model" in said
    for way in ("old model, old gallery", "free queries through a map, old gallery", "5-NN %"):
        assert way in said


def test_known_answers_judge_an_upgrade(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = [files["gallery"], files["query"]], [files["new_gallery"], files["new_query"]]
    main(["upgrade", "--old", *old, "--new", *new, "--qrels", files["qrels"]])
    assert "nDCG@10 %" in capsys.readouterr().out


def test_the_report_is_written_as_json_and_markdown(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main(["upgrade", "--old", files["old"], "--new", files["new"], "--out", str(out)])
    said = capsys.readouterr().out
    assert said.endswith(f"Written to {out}/: upgrade.md and upgrade.json.\n")
    assert sorted(path.name for path in out.iterdir()) == ["upgrade.json", "upgrade.md"]

    plain = json.loads((out / "upgrade.json").read_text("utf-8"))
    assert plain["schema"] == "lightning-monocon/upgrade/1"
    assert plain["origin"]["data"] == f"{files['old']}, {files['new']}"
    (truth,) = plain["truths"]
    assert truth["truth"]["kind"] == "labels" and truth["fitted"] == 60 and truth["advice"] in " ".join(said.split())
    old, _, mapped, again = truth["ways"]
    assert [way["keeps"] for way in truth["ways"]] == [True, True, True, False]
    assert old["ahead_of_old"] is None and again["behind_again"] is None and mapped["ahead_of_old"]["difference"] == 0

    page = (out / "upgrade.md").read_text("utf-8")
    figures = [f"{100 * way['values']['knn_accuracy']:.1f}" for way in truth["ways"]]
    assert re.findall(r"^\| (?:old|new) .*?\| (\S+) ", page, re.M) == figures
    assert "## Judged by labels" in page and f"**Bottom line**: {truth['advice']}" in page


@pytest.mark.parametrize("command", ["upgrade", "score"])
def test_rows_in_another_order_are_refused(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    whole, turned = np.load(files["old"]), np.load(files["new"])
    for side, order in (("gallery", np.arange(60)[::-1]), ("query", np.arange(40))):
        ids, labels = np.array([f"d{row}" for row in range(len(order))]), whole[f"{side}_labels"]
        np.savez(tmp_path / f"o_{side}.npz", embeddings=whole[side], labels=labels, ids=ids)
        np.savez(tmp_path / f"n_{side}.npz", embeddings=turned[side][order], ids=ids[order])
    old, new = ([str(tmp_path / f"{model}_{side}.npz") for side in ("gallery", "query")] for model in "on")
    words = ["--old", *old, "--new", *new] if command == "upgrade" else [*old, "--baseline", *new, "--out", "out"]
    with pytest.raises(SystemExit):
        main([command, *words])
    said = capsys.readouterr().err
    assert "must have the rows of" in said and "row 0 is d59 in" in said and "Sort both by their ids." in said


def test_only_a_report_is_replaced(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["upgrade", "--old", files["old"], "--new", files["new"], "--out", str(out)]
    main(words)
    main(words)
    assert capsys.readouterr().out.count(f"Written to {out}/") == 2
    (out / "upgrade.json").unlink()
    (out / "upgrade.md").write_text("my notes", "utf-8")
    with pytest.raises(SystemExit) as stop:
        main(words)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1
    assert f"`--out` must hold no upgrade.md but that of an earlier report, which is replaced; {out}/upgrade.md" in said
    assert (out / "upgrade.md").read_text("utf-8") == "my notes"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--new", "new"], "needs more options: give --old"),
        (["--old", "old", "--new", "nowhere.npz"], "`--new` must"),
        (["--old", "gallery", "query", "--new", "new"], "`--old` must hold"),
        (["--old", "new", "--new", "new"], "Without labels, give known answers instead, such as --qrels."),
        (["--old", "old", "--new", "broken"], "`gallery` of `--new` must be finite; 60 of 60"),
        (["--old", "gallery", "query", "--new", "broken", "--qrels", "qrels"], "`--new` must be finite; row 0 of"),
        (["--old", "gallery", "query", "--new", "short", "--qrels", "qrels"], "`--new` must embed the rows of `--old`"),
        (["--old", "gallery", "query", "--new", *["gallery"] * 3, "--qrels", "qrels"], "`--new` must be a gallery and"),
        (["--old", "named", "query", "--new", "others", "query", "--qrels", "qrels"], "`--new` must have the ids of "),
        (
            ["--old", "old", "--new", "new", "--ids", "key"],
            "`--ids` must go with --qrels, which names rows by them; go",
        ),
        (["--old", "old", "--new", "new", "--out", "old"], "`--out` must be a folder that can be written"),
    ],
    ids=[
        *("no old model", "no file", "no labels", "no labels in one file", "not finite", "not finite, qrels"),
        *("fewer rows", "too many files", "other ids", "ids without qrels", "no folder"),
    ],
)
def test_bad_input_is_one_sentence(
    files: dict[str, str], words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["upgrade", *(files.get(word, word) for word in words)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    for other in ("--pairs", "--truth", "`files`", "`gallery` must", "baseline"):
        assert other not in said, "no such option of this command"
