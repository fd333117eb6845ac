# SPDX-License-Identifier: Apache-2.0
"""Use heads, losses and scorecard inside sentence-transformers, without Lightning.

Each class follows an interface of that library: heads are modules of a `SentenceTransformer`, losses take
``(sentence_features, labels)``, and the evaluator goes to `SentenceTransformerTrainer`. Needs the extra ``text``; to
train, that library's own extra ``train`` as well.
"""

from lightning_monocon.encoders.hub import optional_package

optional_package("sentence_transformers", "text")  # one sentence where it is missing

from lightning_monocon.sbert.evaluator import ScorecardEvaluator  # noqa: E402
from lightning_monocon.sbert.heads import MLPHead, MonotonicHead  # noqa: E402
from lightning_monocon.sbert.loading import load, stock  # noqa: E402
from lightning_monocon.sbert.losses import CrossSupConLoss, SupConLoss  # noqa: E402

__all__ = ["CrossSupConLoss", "MLPHead", "MonotonicHead", "ScorecardEvaluator", "SupConLoss", "load", "stock"]
