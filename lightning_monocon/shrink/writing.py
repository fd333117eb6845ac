# SPDX-License-Identifier: Apache-2.0
"""Write a result: the code, the codes of all rows, the report and the figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import Tensor

from lightning_monocon.codes import Codec
from lightning_monocon.codes.files import save as save_codec
from lightning_monocon.runs.files import whole, write_text
from lightning_monocon.scorecard.render.figures.style import save
from lightning_monocon.shrink.figure import bytes_figure
from lightning_monocon.shrink.result import Result
from lightning_monocon.shrink.text import as_markdown


def write(out: Path, result: Result, codec: Codec, codes: Tensor) -> None:
    """Write the files of the codec, ``codes.npy``, ``ids.npy``, ``shrink.md``, ``shrink.png`` and ``shrink.json``.

    ``shrink.json`` comes last: a folder that has it is complete.
    """
    save_codec(codec, out)
    _save_array(out / "codes.npy", codes.numpy())
    if result.task.ids is not None:
        _save_array(out / "ids.npy", result.task.ids)
    save(bytes_figure(result), out / "shrink.png")
    write_text(out / "shrink.md", f"# Shrink\n\n{as_markdown(result)}\n![Quality against bytes](shrink.png)\n")
    write_text(out / "shrink.json", json.dumps(result.as_json(), indent=1, allow_nan=False) + "\n")


def _save_array(path: Path, array: np.ndarray) -> None:
    with whole(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
