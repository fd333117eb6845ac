# SPDX-License-Identifier: Apache-2.0
"""Number ids that are text, for index libraries whose ids are integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.runs.files import write_text


class Numbering:
    """Give each id that is text a number, in a JSON file beside an index; integers stand for themselves.

    The file may hold more ids than the index, as after a change that was killed: their numbers are taken again.

    Args:
        path: The JSON file, an object from ids to numbers.
        text: Whether ids are text.
        new: Whether a file that is there, of an index that was never whole, does not count.

    Raises:
        ValueError: If the file is missing or damaged.
    """

    def __init__(self, path: Path, text: bool, new: bool = False) -> None:
        self._path, self._text = path, text
        self._numbers: dict[str, int] = _read(path) if text and not new else {}
        self._names: dict[int, str] = {number: name for name, number in self._numbers.items()}
        self._next = max(self._names, default=-1) + 1

    def known(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the numbers of those ids that have one."""
        if not self._text:
            return ids.astype(np.int64)
        return np.array([self._numbers[one] for one in ids.tolist() if one in self._numbers], np.int64)

    def numbered(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the numbers of all ids, new ones where they had none."""
        if self._text:
            for one in ids.tolist():
                if one not in self._numbers:
                    self._numbers[one], self._names[self._next] = self._next, one
                    self._next += 1
        return self.known(ids)

    def ids(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the ids of numbers ``(n,)``."""
        return np.array([self._names[one] for one in numbers.tolist()], str) if self._text else numbers

    def covers(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether all numbers have an id."""
        return not self._text or self._names.keys() >= set(numbers.tolist())

    def keep(self, numbers: NDArray[np.int64] | None = None) -> None:
        """Write the file, with the ids of these numbers or with all."""
        if not self._text:
            return
        if numbers is not None:
            self._numbers = {self._names[one]: one for one in numbers.tolist()}
        write_text(self._path, json.dumps(self._numbers, ensure_ascii=False) + "\n")

    def bytes(self) -> int:
        """Return the bytes of the file."""
        return self._path.stat().st_size if self._path.is_file() else 0


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(number, int) for number in found.values()):
        raise ValueError(
            f"`--into` must be an index file as it was written; {path}, which names its rows, is missing or damaged."
        )
    return found
