# SPDX-License-Identifier: Apache-2.0
"""Watch and steer a run by callbacks; installed as `lightning_monocon.callbacks`."""

from lightning_monocon.callbacks.best_checkpoint import BestCheckpoint
from lightning_monocon.callbacks.collapse_guard import CollapseGuard, CollapseWarning
from lightning_monocon.callbacks.embedding_metrics import EmbeddingMetrics
from lightning_monocon.callbacks.embedding_writer import EmbeddingWriter
from lightning_monocon.callbacks.encoder_acceleration import EncoderAcceleration
from lightning_monocon.callbacks.encoder_pretraining import EncoderPretraining
from lightning_monocon.callbacks.exact_resume import ExactResume
from lightning_monocon.callbacks.nan_guard import NaNGuard
from lightning_monocon.callbacks.rolling_checkpoint import RollingCheckpoint
from lightning_monocon.callbacks.run_record import RunRecord
from lightning_monocon.callbacks.run_report import RunReport
from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.callbacks.sentence_similarity import SentenceSimilarity
from lightning_monocon.callbacks.shard_writer import ShardWriter
from lightning_monocon.callbacks.stop_signals import StopSignals

__all__ = [
    "BestCheckpoint",
    "CollapseGuard",
    "CollapseWarning",
    "EmbeddingMetrics",
    "EmbeddingWriter",
    "EncoderAcceleration",
    "EncoderPretraining",
    "ExactResume",
    "NaNGuard",
    "RollingCheckpoint",
    "RunRecord",
    "RunReport",
    "SemanticLandscape",
    "SentenceSimilarity",
    "ShardWriter",
    "StopSignals",
]
