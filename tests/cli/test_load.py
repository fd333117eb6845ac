# SPDX-License-Identifier: Apache-2.0
"""`monocon load`: codes into real stores through the command, its check, its refusals, and kills in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.code_folders import code_folder, planted
from helpers.patience import PATIENCE

from lightning_monocon.cli import main
from lightning_monocon.stores import Bundle, open_store

pytest.importorskip("psycopg")
pytest.importorskip("sqlite_vec")

PLACES = ["database", "file"]

KILLED = """
import importlib, os, signal, sys
import lightning_monocon.scorecard.known_files  # once, and not in each child
from lightning_monocon.cli import main
from lightning_monocon.stores.store import blocks_of
def killed(column, ids, codes):
    yield from blocks_of(column, ids[:400], codes[:400])
    os.kill(os.getpid(), signal.SIGKILL)
for module in ("load", "collection"):
    importlib.import_module(f"lightning_monocon.stores.{module}").blocks_of = killed
for words in sys.argv[1:]:
    child = os.fork()
    if not child:
        main(["load", *words.split()])
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Write a folder of 600 codes of one bit a number, and go to the folder that holds it."""
    monkeypatch.chdir(tmp_path)
    return code_folder(tmp_path / "out", "bit")


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(["load", "out", "--into", *words])
    return " ".join(capsys.readouterr().out.split())


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        main(["load", *words])
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("place", PLACES)
def test_load_says_what_was_written_and_how_it_is_ranked(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], place: str, bundle: Bundle
) -> None:
    address = request.getfixturevalue(place)
    found = told(capsys, address, "--name", "pages", "--k", "5")
    assert (
        found.startswith("600 rows of scalar1-3") and "40 queries, 5 rows each: 40 ranked as the codec ranks." in found
    )
    assert "by whole vectors" not in found
    nearest = np.argsort(-bundle.codec.score(bundle.queries, np.asarray(bundle.codes)), axis=1)[:, :10]
    np.savez("out/queries.npz", queries=bundle.queries, nearest=bundle.ids[nearest])
    again = told(capsys, address, "--name", "pages", "--check-only", "--checks", "7", "--shortlist", "600")
    assert again.startswith("7 queries, 10 rows each: 7 ranked as the codec ranks.")
    assert "the true 10 nearest rows by whole vectors it finds 1.000." in again
    store = open_store(address, "pages")
    assert store.count() == 600
    store.close()


def test_queries_may_come_from_a_file(capsys: pytest.CaptureFixture[str], file: str, bundle: Bundle) -> None:
    Path("out/queries.npz").unlink()
    assert "`--queries` must be given, because out holds none" in refused(capsys, "out", "--into", file)
    assert not Path("vectors.db").exists()
    np.save("asked.npy", bundle.queries[:9])
    assert "9 queries, 10 rows each: 9 ranked" in told(capsys, file, "--queries", "asked.npy")


@pytest.mark.parametrize("place", PLACES)
def test_a_store_whose_rows_were_altered_fails_the_check(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], place: str, bundle: Bundle
) -> None:
    address = request.getfixturevalue(place)
    told(capsys, address)
    store = open_store(address)
    assert store.delete(bundle.ids[::3]) == 200
    store.close()
    with pytest.raises(SystemExit, match=r"monocon load: 40 of 40 queries are not answered as by the codec: "):
        main(["load", "out", "--into", address, "--check-only"])


@pytest.mark.parametrize("place", PLACES)
def test_taken_names_and_other_spaces_are_refused(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], place: str, tmp_path: Path
) -> None:
    address = request.getfixturevalue(place)
    told(capsys, address)
    code_folder(tmp_path / "half", "half")
    assert "600 rows of the same codec there" in refused(capsys, "out", "--into", address)
    asked = [tmp_path / "half", "--into", address, "--check-only"]
    message = refused(capsys, *map(str, asked))
    if place == "database":
        assert "`--into` must hold codes of the same space" in message
    else:
        assert "holds half numbers, which sqlite-vec has no column for. Take uncentred int8 codes" in message
    assert "there are none under this name: load them first" in refused(
        capsys, "out", "--into", address, "--name", "other", "--check-only"
    )


def test_bad_input_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert "`OUT` must hold codec.json" in refused(capsys, "missing", "--into", file)
    assert "must begin with one of postgresql://" in refused(capsys, "out", "--into", "mysql://me:geheim@host/db")
    message = refused(capsys, "out", "--into", "postgresql://me:geheim@127.0.0.1:1/db")
    assert "`--into` must be a server that answers; postgresql://me:***@127.0.0.1:1/db says" in message
    assert "`--into` must lie in a folder that exists" in refused(capsys, "out", "--into", "sqlite:///no/such/a.db")
    assert "`--name` must be letters" in refused(capsys, "out", "--into", file, "--name", "a b")
    Path("text.db").write_text("not a database, and longer than the header of one, which has a hundred bytes" * 3)
    assert "`--into` must be a SQLite file" in refused(capsys, "out", "--into", "sqlite:///text.db")
    for option, value, rule in (("shortlist", "5000", "from 1 to 4096"), ("checks", "0", "at least 1"), ("k", "0", "")):
        message = refused(capsys, "out", "--into", file, f"--{option}", value)
        assert f"`--{option}` must be {rule}" in message and f"; got {value}." in message
    assert not Path("vectors.db").exists()


def test_a_kill_in_the_middle_leaves_the_store_as_it_was(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path, bundle: Bundle
) -> None:
    code_folder(tmp_path / "half", "half")
    np.save("more.npy", planted(500, seed=9).numpy())
    places = {
        request.getfixturevalue(name): "half" if name == "shards" else "out"
        for name in ("database", "file", "duck", "lance", "shards")
    }
    for address, out in places.items():
        main(["load", out, "--into", address, "--name", "before", "--checks", "9"])
    changes = [f"{out} --into {address}" for address, out in places.items()]
    changes += [f"{change} --name before --append more.npy" for change in changes[2:]]  # SQL appends as it loads
    command = [sys.executable, "-W", "ignore", "-c", KILLED, *changes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ})
    assert done.stdout.split() == ["-9"] * len(changes), done.stderr[-2000:]
    for address, out in places.items():
        store = open_store(address)
        assert store.stamp() is None
        store.close()
        capsys.readouterr()
        main(["load", out, "--into", address, "--checks", "9"])
        main(["load", out, "--into", address, "--name", "before", "--check-only", "--checks", "9"])
        assert " ".join(capsys.readouterr().out.split()).count("9 queries, 10 rows each: 9 ranked as the codec") == 2
        store = open_store(address, "before")
        assert store.count() == 600
        store.close()


@pytest.mark.parametrize("place", ["file", "duck", "lance", "shards", "faiss_file"])
def test_checking_makes_no_store(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str
) -> None:
    address = request.getfixturevalue(place)
    assert "`--into` must hold codes; there is no " in refused(capsys, "out", "--into", address, "--check-only")
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_rows_are_appended_and_deleted(capsys: pytest.CaptureFixture[str], file: str, tmp_path: Path) -> None:
    shutil.rmtree("out")
    code_folder(tmp_path / "out", "int8")
    told(capsys, file)
    np.save("more.npy", planted(20, seed=9).numpy())
    found = told(capsys, file, "--append", "more.npy")
    assert found.startswith("20 rows appended. 0 of them are far from those of the code. 40 queries, 10 rows each: 40")
    other = planted(9, seed=8).numpy()
    other[:, :16] = 0  # the directions that the code holds
    np.savez("other.npz", embeddings=other, ids=np.arange(9) + 9_000)
    found = told(capsys, file, "--append", "other.npz")
    assert (
        found.startswith("9 rows appended. ") and " of 9 rows are far from those that the code was chosen for" in found
    )
    Path("gone.txt").write_text("1805\n9000\n\n1\n")  # the largest id was 1804
    assert "2 of 3 rows deleted. 40 queries, 10 rows each: 40" in told(capsys, file, "--delete", "gone.txt")
    assert "40 queries, 10 rows each: 40" in told(capsys, file, "--check-only")
    store = open_store(file)
    assert store.count() == 600 + 20 + 9 - 2
    store.close()
    Path("gone.txt").write_text("seven\n")
    assert "`--delete` must hold one integer a line" in refused(capsys, "out", "--into", file, "--delete", "gone.txt")
    for content, said in (
        (b"1_0", "one integer a line, as the store has such ids; got '1_0'"),
        (str(2**70).encode(), f"got '{2**70}'"),
        ("1".encode("utf-16"), "gone.txt: it is no UTF-8"),
    ):
        Path("gone.txt").write_bytes(content)
        assert said in refused(capsys, "out", "--into", file, "--delete", "gone.txt")
    Path("gone.txt").write_text("\n \n")
    found = told(capsys, file, "--delete", "gone.txt")
    assert found.startswith("gone.txt holds no id, so no row is deleted. 40 queries, 10 rows each: 40")
    assert "nofile.txt: No such file" in refused(capsys, "out", "--into", file, "--delete", "nofile.txt")
    both = refused(capsys, "out", "--into", file, "--delete", "gone.txt", "--check-only")
    assert "`--delete` and `--check-only` must not be given together" in both


def test_the_last_number_may_be_an_id_and_none_follows_it(capsys: pytest.CaptureFixture[str], file: str) -> None:
    told(capsys, file)
    np.savez("last.npz", embeddings=planted(1, seed=8), ids=np.array([2**63 - 2]))
    told(capsys, file, "--append", "last.npz")
    np.save("more.npy", planted(1, seed=9).numpy())
    assert told(capsys, file, "--append", "more.npy").startswith("1 rows appended.")
    assert np.load("out/ids.npy").max() == 2**63 - 1
    assert f"as no numbers follow {2**63 - 1}" in refused(capsys, "out", "--into", file, "--append", "more.npy")
    np.savez("last.npz", embeddings=planted(1, seed=8), ids=np.array([2**63], np.uint64))
    assert "`ids` of `--append` must be integers up to 92" in refused(
        capsys, "out", "--into", file, "--append", "last.npz"
    )


def test_a_store_with_rows_that_the_folder_lacks_fails_the_check(
    capsys: pytest.CaptureFixture[str], file: str, bundle: Bundle, tmp_path: Path
) -> None:
    told(capsys, file)
    shutil.copytree("out", "before")
    np.save("more.npy", -100 * planted(3, seed=9).numpy())
    told(capsys, file, "--append", "more.npy")
    with pytest.raises(SystemExit, match="the store has 603 rows and before 600, as after a change that was killed"):
        main(["load", "before", "--into", file, "--check-only"])
    Path("gone.txt").write_text("1805\n1806\n1807\n")
    capsys.readouterr()
    main(["load", "before", "--into", file, "--delete", "gone.txt"])
    assert capsys.readouterr().out.startswith("3 of 3 rows deleted.\n40 queries, 10 rows each: 40")


def test_queries_of_another_width_are_refused_before_rows_are_appended(
    capsys: pytest.CaptureFixture[str], file: str
) -> None:
    told(capsys, file)
    np.save("more.npy", planted(20, seed=9).numpy())
    np.save("wide.npy", np.ones((3, 99), np.float32))
    said = refused(capsys, "out", "--into", file, "--append", "more.npy", "--queries", "wide.npy")
    assert "`--queries` must have " in said and "wide.npy has 99" in said
    assert open_store(file).count() == len(np.load("out/codes.npy")) == 600


@pytest.mark.parametrize(
    ("file_of", "said"),
    [
        (
            {"embeddings": np.ones((2, 23)), "ids": [1, 2]},
            "`--append` must have 24 numbers a row, as the rows of out had; more.npz has 23",
        ),
        ({"embeddings": np.full((2, 24), np.nan), "ids": [1, 2]}, "`--append` must be finite"),
        ({"embeddings": np.ones((2, 24)), "ids": [1, 1]}, "`ids` of `--append` must name each row once"),
        ({"embeddings": np.ones((2, 24)), "ids": ["a", "b"]}, "`ids` of `--append` must be int as those in the store"),
        (
            {"embeddings": np.ones((2, 24)), "ids": [1, 7]},
            "`--append` must hold ids that the store has not; it has 1 of these 2 already, such as 7. Delete",
        ),
        ({"rows": np.ones((2, 24)), "ids": [1, 2]}, "`--append` must hold "),
    ],
    ids=["width", "not finite", "an id twice", "text ids", "a known id", "no array"],
)
def test_what_cannot_be_appended_is_refused_in_the_words_of_the_command(
    capsys: pytest.CaptureFixture[str], file: str, file_of: dict[str, np.ndarray], said: str
) -> None:
    told(capsys, file)
    np.savez("more.npz", **file_of)
    found = refused(capsys, "out", "--into", file, "--append", "more.npz")
    assert said in found
    for name in ("OUT", "files", "rows"):
        assert f"`{name}`" not in found
    assert "`--queries` must " in refused(capsys, "out", "--into", file, "--queries", "nofile.npy")


def test_all_rows_may_be_deleted(capsys: pytest.CaptureFixture[str], file: str) -> None:
    told(capsys, file)
    Path("gone.txt").write_text("\n".join(map(str, np.load("out/ids.npy"))), encoding="utf-8-sig")
    assert "600 of 600 rows deleted. The store holds no row" in told(capsys, file, "--delete", "gone.txt")
    assert "The store holds no row" in told(capsys, file, "--check-only")


@pytest.mark.parametrize(("store", "place"), [("pgvector", "database"), ("sqlite", "file")])
def test_what_is_shrunk_for_a_store_is_loaded_into_it(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], store: str, place: str
) -> None:
    np.save("rows.npy", planted(700).numpy())
    main(["shrink", "rows.npy", "--out", "small", "--keep", "0.5", "--store", store])
    main(["load", "small", "--into", request.getfixturevalue(place)])
    found = " ".join(capsys.readouterr().out.split())
    assert "70 queries, 10 rows each: 70 ranked as the codec ranks." in found
    assert "Of the true 10 nearest rows by whole vectors it finds 0." in found
