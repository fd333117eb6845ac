# SPDX-License-Identifier: Apache-2.0
import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_monocon import durable_files
from lightning_monocon.checkpoints import load_plain, newest_good, read_checkpoint
from lightning_monocon.durable import DurableCheckpointIO


def save(path: Path, value: int = 0, **more: Any) -> Path:
    DurableCheckpointIO().save_checkpoint({"state_dict": {}, "monocon": {}, "value": value, **more}, path)
    return path


def test_a_checkpoint_and_its_digest_as_sha256sum_reads_it(tmp_path: Path) -> None:
    path = save(tmp_path / "sub" / "a.ckpt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert durable_files.sidecar(path).read_text() == f"{digest}  a.ckpt\n"
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
    assert durable_files.damage(path) is None
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
    with pytest.raises(durable_files.WriteError, match=sentence):
        save(path, 2)
    with pytest.raises(durable_files.WriteError):
        durable_files.probe(tmp_path)
    monkeypatch.undo()
    assert read_checkpoint(path)["value"] == 1
    assert {file.name for file in tmp_path.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    with durable_files.whole(path) as file:
        file.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyError), durable_files.whole(path) as file:
        file.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_a_copy_is_known_by_the_same_digest_and_lives_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "last.ckpt", 1)
    durable_files.copy(path, tmp_path / "linked.ckpt")
    durable_files.copy(path, tmp_path / "linked.ckpt")  # it is one already

    def no_links(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    durable_files.copy(path, tmp_path / "copied.ckpt")
    save(path, 2)
    for name in ("linked", "copied"):
        assert read_checkpoint(tmp_path / f"{name}.ckpt")["value"] == 1
    assert durable_files.leftovers(tmp_path) == []


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
