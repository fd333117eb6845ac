# SPDX-License-Identifier: Apache-2.0
"""Fill a folder out of sight, then let it appear under its name as a whole.

It is filled in a scratch folder on the same file system. The process that fills it holds a lock in it, which the system
releases when the process ends, however it ends. A scratch folder with our mark and a free lock was left by a kill, and
nothing else is ever removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lightning_monocon.runs import files

_INFIX = ".monocon-scratch-"
_LOCK, _MARK, _CONTENT = "lock", "mark", "content"
_OF_CODES = "shrink.json", "codec.json", "codes.npy", "parts/whole.safetensors"
_SIGNATURE = "lightning-monocon/scratch/1\n"


def resolved_target(argument: str, path: str | Path) -> Path:
    """Return the folder that a path names, with links followed, after removing what killed processes left.

    Raise FileExistsError, naming the ``argument``, if it is a file, or a folder that holds something.
    """
    target = Path(os.path.realpath(path))
    for home in (target.parent, target):
        remove_leftovers(home, target.name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(
            f"`{argument}` must be a folder that does not exist or is empty; {path} holds something. Choose another, "
            "or empty it."
        )
    return target


@contextmanager
def filled(argument: str, target: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder to fill; its content appears as ``target`` when the block ends without an error.

    If the target does not exist, one rename creates it. An empty target is kept (it may be a mount point or a working
    directory), and the content moves into it.

    Args:
        argument: Name of the user's argument, for the error.
        target: The folder as `resolved_target` returned it.
        last: Name of the file that moves last, and without which the content is not valid.

    Raises:
        OSError: If nothing can be written there; this is checked before the block begins.
    """
    inside = target.is_dir()
    made = [] if inside else _make_parents(argument, target)
    scratch: Path | None = None
    try:
        scratch = _new_scratch(argument, target, target if inside else target.parent)
        lock = FileLock(scratch / _LOCK)
        with lock.acquire(timeout=0):
            files.write_text(scratch / _MARK, _SIGNATURE)
            content = scratch / _CONTENT
            content.mkdir()
            yield content

            files.settle(content)
            if inside:
                _move_into(content, target, last)
            else:
                os.replace(content, target)
                made = []
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for folder in made if not target.exists() else ():
            folder.rmdir()


def remove_leftovers(home: Path, name: str) -> None:
    """Remove the scratch folders for ``name`` in ``home`` whose processes have ended."""
    for scratch in home.glob(f".{glob_free(name)}{_INFIX}*") if home.is_dir() else ():
        if scratch.is_symlink() or not _is_ours(scratch):
            continue
        try:
            with FileLock(scratch / _LOCK).acquire(timeout=0):
                shutil.rmtree(scratch, ignore_errors=True)
        except (Timeout, OSError):  # in use, or not ours to remove
            continue


def check_folder(argument: str, path: Path) -> None:
    """Check that a folder can be created and written to, and leave none behind; raise OSError if it cannot."""
    made: list[Path] = []
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(argument, path, error) from error
    finally:
        for folder in made:
            with suppress(OSError):  # it was not created, or another process has written there
                folder.rmdir()


def check_no_codes(argument: str, path: Path) -> None:
    """Raise FileExistsError if a folder holds a code, with whose files those of another result would be mixed."""
    held = next((name for name in _OF_CODES if (path / name).exists()), None)
    if held is not None:
        raise FileExistsError(
            f"`{argument}` must not be a folder of codes, as `monocon shrink` writes it; {path} holds {held}. Choose "
            "another folder."
        )


def unwritable(argument: str, target: Path, error: OSError) -> OSError:
    """Return an error that a folder cannot be written, in one sentence."""
    return type(error)(
        f"`{argument}` must be a folder that can be written; {target} is not ({error.strerror}). Choose another."
    )


def glob_free(name: str) -> str:
    """Return a pattern that only ``name`` matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _is_ours(scratch: Path) -> bool:
    try:
        return (scratch / _MARK).read_text(encoding="ascii", errors="replace") == _SIGNATURE and {
            path.name for path in scratch.iterdir()
        } <= {_LOCK, _MARK, _CONTENT}
    except OSError:
        return False


def _make_parents(argument: str, target: Path) -> list[Path]:
    """Create the folders above the target; return those that were missing, the innermost first."""
    made = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(argument, target, error) from error
    return made


def _new_scratch(argument: str, target: Path, home: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{target.name}{_INFIX}", dir=home))
    except OSError as error:
        raise unwritable(argument, target, error) from error


def _move_into(content: Path, target: Path, last: str) -> None:
    for path in sorted(content.iterdir(), key=lambda path: path.name == last):
        os.replace(path, target / path.name)
