# SPDX-License-Identifier: Apache-2.0
"""Keep what was judged so far in a folder, one file a code, so that a killed run resumes at the next code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from lightning_monocon.runs import files
from lightning_monocon.runs.folder import LOCK

FOLDER = "parts"

LAST = "shrink.json"
"""File of a finished run that is written last."""


class JudgedCodes:
    """Keep the values of judged codes below ``out``.

    Args:
        out: Folder of the run.
        stamp: Digest of everything that the values depend on.

    Raises:
        FileExistsError: If the folder holds something else than an unfinished run of the same inputs.
    """

    def __init__(self, out: Path, stamp: str) -> None:
        self.folder, self._stamp = out / FOLDER, stamp
        check_out(out)
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else ():
            if files.damage(path) is None and self._stamp_of(path) != stamp:
                raise FileExistsError(
                    f"`--out` must not hold an unfinished run of other vectors, queries or a seed; {out} does. Choose "
                    "another, or empty it."
                )

    def read(self, name: str) -> dict[str, Tensor] | None:
        """Return the values of a code; None if it was not judged, or its file is damaged."""
        path = self._path(name)
        if not path.is_file() or files.damage(path) is not None:
            return None
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}

    def write(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Keep the values of a code."""
        files.write(self._path(name), save(dict(values), metadata={"stamp": self._stamp}), files.AGAIN)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    @staticmethod
    def _stamp_of(path: Path) -> str:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("stamp", ""))


def check_out(out: Path) -> None:
    """Raise FileExistsError if a folder holds something else than an unfinished run."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"`--out` must be a folder; {out} is a file. Choose another.")
    if (out / FOLDER).is_dir() or not out.is_dir():
        return
    if (out / LAST).is_file():
        raise FileExistsError(
            f"`--out` must be a folder that does not exist, is empty or holds an unfinished run; {out} holds a "
            f"finished one: {_chosen(out)} is in it. Choose another folder, or delete that one to ask again."
        )
    if any(path.name != LOCK for path in out.iterdir()):
        raise FileExistsError(
            f"`--out` must be a folder that does not exist, is empty or holds an unfinished run; {out} holds "
            "something else. Choose another, or empty it."
        )


def _chosen(out: Path) -> str:
    """Return the name of the code that a finished run chose."""
    try:
        return str(json.loads((out / LAST).read_text("utf-8"))["chosen"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return LAST


def remove(out: Path) -> None:
    """Remove what a finished run kept below ``out``."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)
