# SPDX-License-Identifier: Apache-2.0
import errno
import hashlib
import os
from collections import OrderedDict, defaultdict
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_monocon.runs import files
from lightning_monocon.runs.checkpoints import (
    DurableCheckpointIO,
    PlainCheckpointIO,
    load_plain,
    newest_good,
    read_checkpoint,
)


def save(path: Path, value: int = 0, **more: Any) -> Path:
    DurableCheckpointIO().save_checkpoint({"state_dict": {}, "monocon": {}, "value": value, **more}, path)
    return path


def test_a_checkpoint_and_its_digest_as_sha256sum_reads_it(tmp_path: Path) -> None:
    path = save(tmp_path / "sub" / "a.ckpt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert files.sidecar(path).read_text() == f"{digest}  a.ckpt\n"
    assert {file.name for file in path.parent.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}
    assert read_checkpoint(path)["value"] == 0


def test_removal_takes_the_digest_with_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt")
    DurableCheckpointIO().remove_checkpoint(path)
    DurableCheckpointIO().remove_checkpoint(path)  # gone already
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", range(6))
def test_whatever_instant_it_stops_at_the_name_has_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    path = save(tmp_path / "a.ckpt", 1)
    calls = 0

    class PowerCut(BaseException):
        pass

    def cut(function: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == stage:
                raise PowerCut
            calls += 1
            return function(*arguments, **options)

        return called

    for name in ("fsync", "replace"):  # three files are written and renamed: the checkpoint, and its digest twice
        monkeypatch.setattr(os, name, cut(getattr(os, name)))
    with pytest.raises(PowerCut):
        save(path, 2)
    monkeypatch.undo()
    assert read_checkpoint(path)["value"] in (1, 2)
    assert files.damage(path) is None
    assert newest_good(tmp_path) == (path, [])


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            errno.ENOSPC,
            r"disk full while writing 'a\.ckpt' to .*MiB free\); earlier checkpoints are intact: free space",
        ),
        (errno.EDQUOT, "disk full while writing"),
        (errno.EROFS, r"cannot write 'a\.ckpt' to .* \(Read-only file system\); nothing was overwritten: choose a"),
        (errno.EIO, r"cannot write 'a\.ckpt' to .*Input/output error; earlier checkpoints are intact"),
    ],
)
def test_a_failed_write_is_one_sentence_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    path = save(tmp_path / "a.ckpt", 1)

    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(files.WriteError, match=sentence):
        save(path, 2)
    with pytest.raises(files.WriteError):
        files.probe(tmp_path)
    monkeypatch.undo()
    assert read_checkpoint(path)["value"] == 1
    assert {file.name for file in tmp_path.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    with files.whole(path) as file:
        file.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyError), files.whole(path) as file:
        file.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_a_copy_is_known_by_the_same_digest_and_lives_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "last.ckpt", 1)
    files.copy(path, tmp_path / "linked.ckpt")
    files.copy(path, tmp_path / "linked.ckpt")  # it is one already

    def no_links(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    files.copy(path, tmp_path / "copied.ckpt")
    save(path, 2)
    for name in ("linked", "copied"):
        assert read_checkpoint(tmp_path / f"{name}.ckpt")["value"] == 1
    assert files.leftovers(tmp_path) == []


def test_a_damaged_checkpoint_is_named_with_the_next_older_good_one(tmp_path: Path) -> None:
    for age, name in enumerate(("best", "last-1", "last")):
        os.utime(save(tmp_path / f"{name}.ckpt", age), (age, age))
    damaged = tmp_path / "last.ckpt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    os.utime(damaged, (9, 9))
    sentence = r"last\.ckpt' \(\d+ bytes\) is damaged .* its sha256 is .* good one is '.*last-1\.ckpt'\."
    for read in (read_checkpoint, DurableCheckpointIO().load_checkpoint):
        with pytest.raises(ValueError, match=sentence):
            read(damaged)
    assert newest_good(tmp_path) == (tmp_path / "last-1.ckpt", [damaged])
    for name in ("best", "last-1"):
        (tmp_path / f"{name}.ckpt").unlink()
    with pytest.raises(ValueError, match="There is no older good one beside it"):
        read_checkpoint(damaged)
    assert newest_good(tmp_path) == (None, [damaged])


def test_a_file_without_a_digest_is_opened_to_see_whether_it_is_whole(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(100)}, tmp_path / "a.ckpt")
    assert newest_good(tmp_path) == (tmp_path / "a.ckpt", [])
    (tmp_path / "a.ckpt").write_bytes(b"PK\x03\x04 and so on")
    assert newest_good(tmp_path) == (None, [tmp_path / "a.ckpt"])


def test_nothing_but_a_dictionary_and_never_from_elsewhere(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="it holds a list, not a dictionary"):
        load_plain(tmp_path / "list.ckpt")
    for call in (DurableCheckpointIO().load_checkpoint, DurableCheckpointIO().remove_checkpoint):
        with pytest.raises(ValueError, match=r"must be a file on this machine, got the URL 's3://a/b\.ckpt'"):
            call("s3://a/b.ckpt")
    with pytest.raises(TypeError, match="`storage_options` must be None for a local file"):
        DurableCheckpointIO().save_checkpoint({}, tmp_path / "a.ckpt", storage_options={"a": 1})


class Choice(Enum):
    """A value of a class, as options often are."""

    FAST = 1


UNREADABLE = {
    "float32": np.float32(0.1),  # a Python float computes otherwise
    "array": np.zeros(2),
    "path": Path("runs"),
    "enum": Choice.FAST,
    "frozenset": frozenset({1}),
    "defaultdict": defaultdict(int),
    "function": len,
    "lambda": lambda: 0,  # is not even written
    "module": torch.nn.Linear(1, 1),
    "generator": torch.Generator(),
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("plugin", [DurableCheckpointIO(), PlainCheckpointIO()], ids=["durable", "plain"])
def test_what_could_not_be_read_is_not_written(tmp_path: Path, plugin: Any, value: object) -> None:
    path = save(tmp_path / "a.ckpt", 1)
    sentence = r"cannot write 'a\.ckpt': `checkpoint\['callbacks'\]\['Mine'\]\[1\]` must be a plain value .* got "
    with pytest.raises(files.WriteError, match=sentence + r".* ['\"].*['\"]\. Nothing was overwritten: return"):
        plugin.save_checkpoint({"callbacks": {"Mine": [0.5, value]}}, path)
    assert read_checkpoint(path)["value"] == 1
    assert {file.name for file in tmp_path.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}


@pytest.mark.parametrize("plugin", [DurableCheckpointIO(), PlainCheckpointIO()], ids=["durable", "plain"])
def test_a_state_without_an_end_is_refused_by_its_place(tmp_path: Path, plugin: Any) -> None:
    path = save(tmp_path / "a.ckpt", 1)
    state: dict[str, Any] = {"steps": [1, {}]}
    state["steps"][1]["again"] = state
    again = r"`checkpoint\['callbacks'\]\['Mine'\]\['steps'\]\[1\]\['again'\]` contains itself: it is "
    with pytest.raises(files.WriteError, match=again + r"`checkpoint\['callbacks'\]\['Mine'\]` again\. Nothing"):
        plugin.save_checkpoint({"callbacks": {"Mine": state}}, path)
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(files.WriteError, match=r"`checkpoint\['deep'\]\[0\].*` is nested 2001 levels deep"):
        plugin.save_checkpoint({"deep": deep}, path)
    assert read_checkpoint(path)["value"] == 1


def test_a_part_that_is_in_two_places_does_not_contain_itself(tmp_path: Path) -> None:
    part = [np.float64(0.5)]
    path = save(tmp_path / "a.ckpt", parts=(part, {"b": part}))
    assert read_checkpoint(path)["parts"] == ([0.5], {"b": [0.5]})


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")  # torch 2.14's own
@pytest.mark.parametrize("plugin", [DurableCheckpointIO(), PlainCheckpointIO()], ids=["durable", "plain"])
def test_numpy_scalars_that_python_has_too_are_saved_as_such(tmp_path: Path, plugin: Any) -> None:
    state = OrderedDict(best=np.float64(1) / 3, steps=(np.int64(7), [np.bool_(True)]), name=np.str_("a"))
    given = {"state": state, np.int32(3): np.complex128(1j), "tensor": torch.eye(2).to_sparse()}
    plugin.save_checkpoint(given, tmp_path / "a.ckpt")
    found = plugin.load_checkpoint(tmp_path / "a.ckpt")
    assert found["state"] == {"best": 1 / 3, "steps": (7, [True]), "name": "a"} and found[3] == 1j
    assert [type(value) for value in (found["state"]["best"], *found["state"]["steps"][1])] == [float, bool]
    assert type(state["best"]) is np.float64 and type(found["state"]) is OrderedDict  # the run's own state is its own


@pytest.mark.parametrize("digest", [True, False], ids=["digest", "no digest"])
def test_a_whole_file_that_cannot_be_read_is_never_started_over(tmp_path: Path, digest: bool) -> None:
    os.utime(save(tmp_path / "last-1.ckpt"), (1, 1))
    path = tmp_path / "last.ckpt"
    torch.save({"best": np.zeros(2)}, path)
    if digest:
        files.write(path, path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"last\.ckpt' \(\d+ bytes\) is whole, but cannot be read: .*numpy"):
        newest_good(tmp_path)
    path.write_bytes(before[: len(before) // 2])
    assert newest_good(tmp_path) == (tmp_path / "last-1.ckpt", [path])


def test_a_folder_that_is_moved_away_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    plugin = DurableCheckpointIO()
    plugin.save_checkpoint({"value": 1}, folder / "last.ckpt")
    (tmp_path / "run").rename(tmp_path / "moved")
    sentence = r"cannot write 'last\.ckpt' to .*: the folder was moved or removed .*: resume where .* with --run-dir"
    with pytest.raises(files.WriteError, match=sentence):
        plugin.save_checkpoint({"value": 2}, folder / "last.ckpt")
    assert not (tmp_path / "run").exists()
    folder.mkdir(parents=True)  # another one of that name
    with pytest.raises(files.WriteError, match=sentence):
        plugin.save_checkpoint({"value": 2}, folder / "last.ckpt")
    assert not list(folder.iterdir())
    assert load_plain(tmp_path / "moved" / "checkpoints" / "last.ckpt") == {"value": 1}
