# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.patience import PATIENCE
from helpers.writing_calls import writing_calls
from safetensors.torch import save_file

from lightning_monocon.data.images.cache import cached
from lightning_monocon.data.images.table import ImageTable
from lightning_monocon.export.artefact import write_tensors
from lightning_monocon.runs import files
from lightning_monocon.runs.scratch import filled
from lightning_monocon.scorecard.embeddings import EmbeddingSet

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = sorted(path for folder in ("lightning_monocon", "callbacks") for path in (ROOT / folder).rglob("*.py"))

ALLOWED = {
    "lightning_monocon/runs/scratch.py: os.replace": "moves what is finished; `settle` has flushed it",
    "lightning_monocon/export/traced.py: torch.export.save": "names the archive inside after the file, out of sight",
    "lightning_monocon/export/traced.py: found.save": "may write a second file, named after the first, out of sight",
    "lightning_monocon/export/sentence.py: .save_pretrained": "writes a whole folder, out of sight",
    "lightning_monocon/cli/arm_run.py: .save(": "is that of `EmbeddingSet`, which writes by the writer",
    "lightning_monocon/export/writing.py: codes.save": "writes by the writer",
    "lightning_monocon/stores/qdrant.py: whole.rename": "moves a folder of the engine that is complete",
    "lightning_monocon/stores/usearch_index.py: index.save": "is given the writer's temporary file",
    "lightning_monocon/cli/arm_run.py: path.open": "what a process prints goes to its log as it is printed",
}
"""Calls that write past the writer, and why they may; "out of sight" is the scratch folder of `filled`."""


def test_every_file_is_written_by_the_writer() -> None:
    found = {path.relative_to(ROOT).as_posix(): writing_calls(path.read_text(encoding="utf-8")) for path in CODE}
    assert len(found.pop("lightning_monocon/runs/files.py")) > 5, "the walk sees no writing at all"
    assert not [
        f"{name}:{line}: {call}"
        for name, calls in found.items()
        for line, call in calls
        if not any(name == file and each in call for file, each in (entry.split(": ") for entry in ALLOWED))
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("open(path, 'w')", "path.open('ab')", "open(path, mode='x')", "path.open('rb+')", "gzip.open(path, 'wt')"),
        *("path.write_text('')", "np.save(path, x)", "torch.save(x, path)", "save_file(x, path)", "json.dump(x, file)"),
        *("figure.savefig(path)", "shutil.copy(a, b)", "os.replace(a, b)", "part.replace(path)", "yaml.dump(x, file)"),
        *("os.open(path, os.O_WRONLY)", "tempfile.mkstemp(dir=path)", "ZipFile.open(path, 'w')"),
        *("with path.open('w') as file: pass", "with whole(a) as b: torch.save(x, a)"),
    ],
)
def test_the_walk_sees_writing(line: str) -> None:
    assert len(writing_calls(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        *(
            "open(path)",
            "path.open('rb')",
            "archive.open(member)",
            "text.replace('a', 'b')",
            "replace(x, a=1)",
        ),
        *(
            "with whole(path) as file: torch.save(x, file)",
            "open(os.devnull, 'w')",
            "yaml.dump(x)",
            "files.write(a, b)",
        ),
        *("with whole(a) as b, b.open('wb') as c: np.save(c, x)", "def f(): b = io.BytesIO(); torch.save(x, b)"),
        *("os.open(folder, os.O_RDONLY)", "EmbeddingSet(a, b).save(path)"),
    ],
)
def test_the_walk_lets_reading_and_memory_pass(line: str) -> None:
    ast.parse(line)
    assert not writing_calls(line)


@pytest.fixture
def umask() -> Iterator[int]:
    """Set an umask that no machine has by default."""
    before = os.umask(0o027)
    yield 0o640
    os.umask(before)


def _embeddings(path: Path) -> None:
    EmbeddingSet(torch.eye(6), torch.arange(6) // 3, torch.eye(6), torch.arange(6) // 3).save(path)


def _image_cache(path: Path) -> None:
    cached(path.parent, path.name, lambda: ImageTable(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, np.int64), ("a",)))


def _folder(path: Path) -> None:
    with filled("out", path, last="a") as folder:
        (folder / "deep").mkdir()
        save_file({"x": torch.zeros(1)}, folder / "deep" / "a")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(
    "write",
    [
        _embeddings,
        _image_cache,
        _folder,
        lambda path: write_tensors(path, {"x": torch.zeros(1)}, {}),
        lambda path: files.write_text(path, "x"),
        lambda path: files.write(path, b"x"),
        lambda path: files.append_row(path, {"x": 1}),
    ],
)
def test_a_file_has_the_permissions_of_any_new_file(write: Callable[[Path], None], umask: int, tmp_path: Path) -> None:
    write(tmp_path / "file")
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert found
    assert set(found.values()) == {umask}, found


def test_a_text_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made" / "a.txt"
    files.write_text(path, "π\r\nold\n")
    assert path.read_bytes() == "π\r\nold\n".encode()

    def full(self: Path, text: str, **options: str) -> None:
        self.write_bytes(text[:2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(files.NoRoomError, match=r"^disk full while writing 'a\.txt' to .*; earlier files are intact: "):
        files.write_text(path, "new")
    assert path.read_bytes() == "π\r\nold\n".encode()
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


LIMITED = """
import resource, sys, numpy as np, torch
from pathlib import Path
from safetensors.torch import save_file
from lightning_monocon.runs.files import NoRoomError, whole
kind, path = sys.argv[1], Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    with whole(path) as temporary:
        if kind == "safetensors":
            save_file({"a": torch.zeros(1 << 16)}, temporary)
        else:
            with temporary.open("wb") as file:
                np.save(file, np.zeros(1 << 16)) if kind == "numpy" else file.write(bytes(1 << 20))
except NoRoomError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of a file's size")
@pytest.mark.parametrize("kind", ["bytes", "numpy", "safetensors"])
def test_no_room_is_told_alike_whichever_library_writes(kind: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", LIMITED, kind, str(tmp_path / "a")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.startswith(f"disk full while writing 'a' to '{tmp_path}'"), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="cannot reserve room")
def test_a_file_of_holes_is_given_its_room(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 20)
    assert (tmp_path / "a").stat().st_blocks * 512 < 1 << 20
    files.reserve(tmp_path / "a")
    assert (tmp_path / "a").stat().st_blocks * 512 >= 1 << 20
    assert (tmp_path / "a").read_bytes() == bytes(1 << 20)


def test_a_writer_that_refuses_to_overwrite_finds_nothing_there(tmp_path: Path) -> None:
    with files.whole(tmp_path / "a") as temporary, temporary.open("x") as file:
        file.write("new")
    assert (tmp_path / "a").read_text() == "new"


def test_rows_are_appended_and_half_a_row_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    files.append_row(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": ')
    files.drop_half_row(path)
    files.append_row(path, {"a": 2})
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'
    files.drop_half_row(tmp_path / "none")
