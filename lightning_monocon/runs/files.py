# SPDX-License-Identifier: Apache-2.0
"""Files that are old or new, never half: written beside their name, flushed to the disk, then renamed onto it.

Each file has a sidecar ``<name>.sha256`` in the format of ``sha256sum``, so that a torn or altered file is known as
such before anything in it is believed. Two files cannot be renamed at once; while a file is replaced its sidecar
therefore names both digests, and a kill at any instant leaves a file that its sidecar knows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIDECAR = ".sha256"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_CHUNK = 1 << 20
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp|\.probe-\d+")


class WriteError(RuntimeError):
    """Something could not be written; the text says what, what is left, and what to do."""


def sidecar(path: Path) -> Path:
    """Return the file that holds the digest of ``path``."""
    return path.with_name(path.name + SIDECAR)


def write(path: Path, data: bytes | memoryview) -> None:
    """Replace ``path`` by ``data``, and its sidecar with it.

    Args:
        path: The file; its folder is made if missing.
        data: Everything that it shall hold.

    Raises:
        WriteError: If there is no room, or writing is not allowed; what was there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data, hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise explain(error, path) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; the file takes its place, flushed, when the block ends well.

    For files that can be made again, and so have no sidecar. If the block raises, what was there before is untouched.

    Raises:
        OSError: If there is no room, or writing is not allowed.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Give the content of ``source`` a second name, and the sidecar with it; where it can be, as a hard link.

    Raises:
        WriteError: If there is no room, or writing is not allowed.
    """
    known = digests(source)
    digest = next(iter(known)) if len(known) == 1 else _digest(source)
    temporary = _temporary(target)
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            _flushed(temporary, source.read_bytes())
        _put_in_place(temporary, target, digest)
    except OSError as error:
        raise explain(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)  # renaming one name of a file onto another of the same file leaves both


def remove(path: Path) -> None:
    """Remove a file and its sidecar, in this order; either may be missing."""
    for name in (path, sidecar(path)):
        name.unlink(missing_ok=True)


def digests(path: Path) -> set[str]:
    """Return the digests that the sidecar of ``path`` names: none without one, two while the file is replaced."""
    try:
        text = sidecar(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return set()
    return {line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip()}


def damage(path: Path) -> str | None:
    """Say what is wrong with a file, as far as its sidecar can tell; ``None`` if nothing is, or without a sidecar."""
    if not sidecar(path).exists():
        return None
    found = _digest(path)
    if found in digests(path):
        return None
    return f"its sha256 is {found[:12]}..., not the one in {sidecar(path).name}: it was cut short or altered"


def probe(folder: Path) -> None:
    """Write a small file to ``folder`` and remove it, so that a run fails before its first step rather than after.

    Raises:
        WriteError: If that fails.
    """
    path = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _flushed(path, b"x" * 4096)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # said above
            pass


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files that kills have left; only whoever holds the folder may remove them.

    They are known by the form of their names, which ends in the number of a process: other hidden files are not ours.
    """
    return [file for file in folder.glob(".*") if _LEFTOVER.fullmatch(file.name) and file.is_file()]


def remove_leftovers(folder: Path, names: str, running: bool = True) -> None:
    """Remove the temporary files that kills have left of some files and of their sidecars.

    Args:
        folder: Of the files.
        names: A regular expression for their whole names.
        running: Whether to remove those of processes that run on this machine, too: for whoever holds a lock that all
            who write these files must hold.
    """
    known = re.compile(rf"\.(?:{names})(?:{re.escape(SIDECAR)})?\.(\d+)\.tmp")
    for file in leftovers(folder):
        match = known.fullmatch(file.name)
        if match and (running or not _is_running(int(match[1]))):
            file.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def explain(error: OSError, path: Path) -> WriteError:
    """Return one sentence on a failed write: what, where, what is left, what to do."""
    folder = path.parent
    if error.errno in _NO_ROOM:
        return WriteError(
            f"disk full while writing {path.name!r} to {str(folder)!r}{_free(folder)}; earlier checkpoints are intact: "
            "free space or lower `save_top_k` (`--keep`), then resume with --resume auto"
        )
    if error.errno == errno.ENOENT:
        return WriteError(
            f"cannot write {path.name!r} to {str(folder)!r}: the folder was moved or removed while it was written to; "
            "what it held is where it is now, and nothing else was written: resume there with --run-dir and "
            "--resume auto"
        )
    if error.errno in _NOT_ALLOWED:
        return WriteError(
            f"cannot write {path.name!r} to {str(folder)!r} ({error.strerror}); nothing was overwritten: choose a "
            "folder that this user may write to (`--run-dir`, or the checkpoint callback's `dirpath`)"
        )
    return WriteError(f"cannot write {path.name!r} to {str(folder)!r}: {error}; earlier checkpoints are intact")


def _replace(path: Path, data: bytes | memoryview, digest: str) -> None:
    temporary = _temporary(path)
    try:
        _flushed(temporary, data)
        _put_in_place(temporary, path, digest)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _put_in_place(temporary: Path, path: Path, digest: str) -> None:
    """Rename a finished temporary file onto ``path``; the sidecar knows the file before, during and after."""
    earlier = digests(path) - {digest} if path.exists() else set()
    if earlier or not path.exists():
        _write_sidecar(path, [digest, *earlier])
    os.replace(temporary, path)
    if earlier or digests(path) != {digest}:
        _write_sidecar(path, [digest])
    _flush_folder(path.parent)


def _write_sidecar(path: Path, known: list[str]) -> None:
    target = sidecar(path)
    temporary = _temporary(target)
    _flushed(temporary, "".join(f"{digest}  {path.name}\n" for digest in known).encode())
    os.replace(temporary, target)


def _flushed(path: Path, data: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder, where the system can open one (Windows cannot)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _free(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 2**20:.1f} MiB free)"
    except OSError:
        return ""
