# SPDX-License-Identifier: Apache-2.0
"""Cut a trained model to the dimensions that count, and write it in forms that load anywhere.

``export_model`` writes a folder in the layout of the Hugging Face hub (safetensors, ONNX, ``torch.export`` and, for
text, sentence-transformers), ``load`` reads it back, and ``check_same_space`` keeps vectors of two models apart.
"""

from lightning_monocon.export.artefact import check_same_space, stamp_of
from lightning_monocon.export.calibration import Calibration
from lightning_monocon.export.loading import Embedder, load
from lightning_monocon.export.projection import Projection, fit_projection
from lightning_monocon.export.stamp import Stamp
from lightning_monocon.export.truths import Known
from lightning_monocon.export.vectors import load_vectors, save_vectors
from lightning_monocon.export.writing import DoubtfulExportWarning, Export, export_model

__all__ = [
    "Calibration",
    "DoubtfulExportWarning",
    "Embedder",
    "Export",
    "Known",
    "Projection",
    "Stamp",
    "check_same_space",
    "export_model",
    "fit_projection",
    "load",
    "load_vectors",
    "save_vectors",
    "stamp_of",
]
