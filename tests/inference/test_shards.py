# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.killed_writing import killed_while_writing, temporary
from safetensors import safe_open

from lightning_monocon.inference.shards import Rows, ShardFolder, Shards, Space, model_stamp


def written(folder: Path) -> Path:
    shards = ShardFolder(folder, Space("model", 1, "safetensors", 4))
    for start in range(0, 12, 4):
        shards.append("rows", Rows(np.arange(start, start + 4), np.full((4, 2), start, np.float32), None))
    shards.close(done=True)
    return folder


def test_shards_of_another_model_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ValueError, match=r"`out` must be a new folder or hold .* has model 'model', not 'other'\."):
        ShardFolder(tmp_path, Space("other", 1, "safetensors", 4))


def test_arrays_with_strides_are_written_as_they_read(tmp_path: Path) -> None:
    ids, labels = np.arange(12)[::2], np.arange(24)[::-4]
    vectors = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(6, 2))
    shards = ShardFolder(tmp_path, Space("model", 1, "safetensors", 6))
    shards.append("rows", Rows(ids, vectors, labels))
    shards.close(done=True)
    with safe_open(tmp_path / "rows-00000-00000.safetensors", framework="np") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}
    for name, given in (("ids", ids), ("embeddings", vectors), ("labels", labels)):
        np.testing.assert_array_equal(found[name], given)


def test_weights_make_the_model(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    assert model_stamp(first) != model_stamp(second)
    second.load_state_dict(first.state_dict())
    assert model_stamp(first) == model_stamp(second)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    held = ShardFolder(tmp_path, Space("model", 1, "safetensors", 4))
    with pytest.raises(RuntimeError, match=r"`out` must not be in use"):
        ShardFolder(tmp_path, held.space)
    held.close(done=False)


def test_a_damaged_shard_is_named_and_written_again_with_what_follows(tmp_path: Path) -> None:
    broken = written(tmp_path) / "rows-00000-00001.safetensors"
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    with pytest.raises(ValueError, match=r"`path` must hold whole shards; its sha256 is .*: it was cut short"):
        list(Shards(tmp_path).stream("rows"))
    again = ShardFolder(tmp_path, Space("model", 1, "safetensors", 4))
    assert (again.finished("rows"), again.done) == (4, False)
    again.close(done=False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "lightning-monocon/shards/0"}, r"`path` must have the layout 'lightning-monocon/shards/2'"),
        ({"ranks": 2}, r"`path` must be finished; .* lacks rows of rank 1"),
    ],
)
def test_another_layout_is_refused(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    space = written(tmp_path) / "space.json"
    space.write_text(json.dumps(json.loads(space.read_text()) | change))
    with pytest.raises(ValueError, match=sentence):
        Shards(tmp_path)


def test_what_is_no_folder_of_shards_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`path` must be a folder of shards written by `monocon predict`"):
        Shards(tmp_path)
    with pytest.raises(ValueError, match=r"`part` must be one of 'rows'; got 'gallery'"):
        list(Shards(written(tmp_path)).stream("gallery"))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(OSError, match=r"^`out` must be a folder that can be written; .* is not \(.*\). Choose"):
            ShardFolder(out, Space("m", 1, "safetensors", 2))
    assert (tmp_path / "file").read_text() == "mine"


SHARD = """
folder = shards.ShardFolder(shards.Path(sys.argv[1]), shards.Space("m", 2, "safetensors", 2), rank=1)
os.replace = stop
folder.append("rows", rows)
"""


def test_what_a_kill_left_of_a_rank_is_cleared_by_that_rank(tmp_path: Path) -> None:
    out, space = tmp_path / "out", Space("m", 2, "safetensors", 2)
    killed_while_writing(SHARD, out)
    left = temporary(out)
    assert any("rows-00001-00000.safetensors" in name for name in left)
    (out / ".thesis.tex.tmp").write_text("mine")
    (out / ".rows-00000-00000.safetensors.77.tmp").write_text("the other rank is writing this")
    ShardFolder(out, space, rank=1).close(done=False)
    assert temporary(out) == [".rows-00000-00000.safetensors", ".thesis"]
