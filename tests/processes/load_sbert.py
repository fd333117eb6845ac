# SPDX-License-Identifier: Apache-2.0
"""Run in a process of its own: load a model with heads of this package by each way, and compare its vectors.

Argument: a folder with ``model`` and ``stock``, which `save_pretrained` wrote, ``texts.txt`` and ``vectors.npy``. The
stock model is loaded while this package cannot be imported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer


def compare(name: str, model: Any, folder: Path, tolerance: float) -> None:
    texts = (folder / "texts.txt").read_text(encoding="utf-8").split("\n")
    vectors = model.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(vectors, np.load(folder / "vectors.npy"), rtol=0, atol=tolerance)
    print(name)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.modules["lightning_monocon"] = None  # type: ignore[assignment]  # an import of it now fails
    compare("stock", SentenceTransformer(str(folder / "stock"), device="cpu", local_files_only=True), folder, 1e-5)
    del sys.modules["lightning_monocon"]

    from lightning_monocon.sbert import load

    compare("load", load(folder / "model", device="cpu"), folder, 0)
    flagged = SentenceTransformer(str(folder / "model"), device="cpu", local_files_only=True, trust_remote_code=True)
    compare("flag", flagged, folder, 0)
    assert not {"lightning", "pytorch_lightning"} & set(sys.modules), "someone who never touches Lightning"
