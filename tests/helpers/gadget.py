# SPDX-License-Identifier: Apache-2.0
"""An object whose unpickling runs code, as a hostile checkpoint would hold it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Gadget:
    """Pickles to a call that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)
