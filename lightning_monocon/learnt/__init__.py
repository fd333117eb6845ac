# SPDX-License-Identifier: Apache-2.0
"""Learn a code of cached vectors, and a head below it, with the rounding in the training."""

from lightning_monocon.learnt.code import TrainableCode
from lightning_monocon.learnt.data import EmbeddingData
from lightning_monocon.learnt.module import LearntCode
from lightning_monocon.learnt.pairs import EmbeddingPairs
from lightning_monocon.learnt.writer import CodecWriter

__all__ = ["CodecWriter", "EmbeddingData", "EmbeddingPairs", "LearntCode", "TrainableCode"]
