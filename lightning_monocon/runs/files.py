# SPDX-License-Identifier: Apache-2.0
"""Write files that are old or new, never half: beside their name, flushed to the disk, then renamed onto it.

Every file of the package is written here. A file that can be made again is written by `whole` or `write_text`. One
that cannot, such as a checkpoint, is written by `write` and has a sidecar ``<name>.sha256`` in the format of
``sha256sum``, by which a torn or altered file is recognised before it is read. Two files cannot be renamed at once;
while a file is replaced its sidecar therefore names both digests, and a kill at any instant leaves a file that its
sidecar knows.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SIDECAR = ".sha256"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_ROOM_IN_WORDS = re.compile(
    rf"\d+ requested and \d+ written|os error (?:{'|'.join(str(number) for number in sorted(_NO_ROOM))})\b"
)
_CHUNK = 1 << 20
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp|\.probe-\d+")


class WriteError(RuntimeError):
    """Report a failed write: what failed, what is left on the disk, and what to do."""


class NoRoomError(WriteError, OSError):
    """Report that there is no room for a file that can be made again; the cause is the error of the system."""

    def __init__(self, path: Path) -> None:
        super().__init__(_full(path, AGAIN))
        self.errno = errno.ENOSPC


AGAIN = "earlier files are intact: free space, then give the same command again"
"""What to do where there is no room for a file that can be made again."""

_RESUME = "earlier checkpoints are intact: free space or lower `save_top_k` (`--keep`), then resume with --resume auto"


def sidecar(path: Path) -> Path:
    """Return the file that holds the digest of ``path``."""
    return path.with_name(path.name + SIDECAR)


def write(path: Path, data: bytes | memoryview, remedy: str = _RESUME) -> None:
    """Replace ``path`` by ``data``, and its sidecar; if that fails, raise WriteError and leave the file as it was.

    Args:
        path: The file.
        data: What it is to hold.
        remedy: What is left, and what to do, where there is no room; by default that of a checkpoint.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data, hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise explain(error, path, remedy) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; the new file replaces ``path`` when the block ends without an error.

    The file is flushed and has the permissions that any new file has here: some libraries write files that only their
    owner may read. If the block raises, the earlier file is untouched.

    Raises:
        NoRoomError: If there is no room.
        OSError: If writing is not allowed.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _ordinary_mode(temporary)
        yield temporary

        _settle(temporary, mode)  # safetensors 0.8 writes 0600 whatever the umask (safetensors/safetensors#782)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except Exception as error:
        if no_room(error):
            raise NoRoomError(path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def no_room(error: BaseException) -> bool:
    """Return whether a write failed for want of room.

    NumPy and safetensors say it in words alone: "4096 requested and 100 written", "os error 28".
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    return _NO_ROOM_IN_WORDS.search(str(error)) is not None and type(error).__name__ in ("OSError", "SafetensorError")


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, line ends as they are; the folder is created if missing.

    Raises:
        NoRoomError: If there is no room; the earlier file is untouched.
        OSError: If writing is not allowed.
    """
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def reserve(path: Path) -> None:
    """Give a file all of its room on the disk: a process that finds none under a memory map is killed by the system.

    Raises:
        OSError: If there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def settle(folder: Path) -> None:
    """Flush every file below ``folder`` and give it ordinary permissions, for libraries that write a whole folder."""
    mode = _ordinary_mode(folder / f".probe-{os.getpid()}")
    for home, _, names in os.walk(folder):
        for name in names:
            _settle(Path(home, name), mode)
        _flush_folder(Path(home))


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Append a row of JSON to ``path``, which is opened for each row: nothing waits in a buffer when a kill comes.

    Raises:
        WriteError: If there is no room, or writing is not allowed.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str, allow_nan=False) + "\n")
    except OSError as error:
        raise explain(error, path) from error


def drop_half_row(path: Path) -> None:
    """Cut off a last row without its newline: the next row would join it, and neither could be read.

    A last row that is complete gets its newline instead.
    """
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        complete = content.rfind(b"\n") + 1
        if _is_json(content[complete:]):
            file.write(b"\n")
        elif complete < len(content):
            file.truncate(complete)


def copy(source: Path, target: Path) -> None:
    """Give ``source`` and its sidecar a second name: a hard link where the file system has them, a copy elsewhere.

    Raises:
        WriteError: If there is no room, or writing is not allowed.
    """
    known = digests(source)
    digest = next(iter(known)) if len(known) == 1 else file_digest(source)
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
    """Remove a file, then its sidecar; either may be missing."""
    for name in (path, sidecar(path)):
        name.unlink(missing_ok=True)


def digests(path: Path) -> set[str]:
    """Return the digests in the sidecar of ``path``: none without a sidecar, two while the file is replaced."""
    try:
        text = sidecar(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return set()
    return {line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip()}


def damage(path: Path) -> str | None:
    """Return what its sidecar says is wrong with a file: ``None`` if nothing is, or if there is no sidecar."""
    if not sidecar(path).exists():
        return None
    found = file_digest(path)
    if found in digests(path):
        return None
    return f"its sha256 is {found[:12]}..., not the one in {sidecar(path).name}: it was cut short or altered"


def probe(folder: Path) -> None:
    """Write a small file to ``folder`` and remove it, so that a run fails before its first step and not after it.

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
        except OSError:  # the error above is reported
            pass


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files that killed processes left; only the holder of the folder may remove them.

    They are recognised by their names, which end in the number of a process: other hidden files are not ours.
    """
    return [file for file in folder.glob(".*") if _LEFTOVER.fullmatch(file.name) and file.is_file()]


def remove_leftovers(folder: Path, names: str, running: bool = True) -> None:
    """Remove the temporary files that killed processes left of some files and of their sidecars.

    Args:
        folder: Folder of the files.
        names: Regular expression that matches the whole name of a file.
        running: Whether to remove those of running processes as well: only for a caller that holds a lock which every
            writer of these files must hold.
    """
    known = re.compile(rf"\.(?:{names})(?:{re.escape(SIDECAR)})?\.(\d+)\.tmp")
    for file in leftovers(folder):
        match = known.fullmatch(file.name)
        if match and (running or not is_running(int(match[1]))):
            file.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Return whether a process of this machine runs, by its number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


def explain(error: OSError, path: Path, remedy: str = _RESUME) -> WriteError:
    """Return an error that says of a failed write what failed, where, what is left and what to do."""
    folder = path.parent
    if error.errno in _NO_ROOM:
        return WriteError(_full(path, remedy))
    if error.errno == errno.ENOENT:
        return WriteError(
            f"cannot write {path.name!r} to {str(folder)!r}: the folder was moved or removed during the run, and "
            "nothing was written after that: resume where the folder is now with --run-dir and --resume auto"
        )
    if error.errno in _NOT_ALLOWED:
        return WriteError(
            f"cannot write {path.name!r} to {str(folder)!r} ({error.strerror}); nothing was overwritten: choose a "
            "folder that this user may write to (`--run-dir`, or the checkpoint callback's `dirpath`)"
        )
    return WriteError(f"cannot write {path.name!r} to {str(folder)!r}: {error}; earlier checkpoints are intact")


def _full(path: Path, remedy: str) -> str:
    return f"disk full while writing {path.name!r} to {str(path.parent)!r}{_free(path.parent)}; {remedy}"


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


def _ordinary_mode(path: Path) -> int:
    """Return the permissions of a new file: create one and remove it, for only a file shows what the folder adds."""
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def _settle(path: Path, mode: int) -> None:
    """Set the permissions of a file and flush it."""
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def file_digest(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits, read piece by piece."""
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
