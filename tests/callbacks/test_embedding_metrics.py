# SPDX-License-Identifier: Apache-2.0

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from helpers.plain_runs import Plain, clusters, loader, trainer
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from lightning_monocon.callbacks import EmbeddingMetrics

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


@pytest.mark.parametrize("stage", ["val", "test"])
def test_metrics_agree_with_scikit_learn(stage: str) -> None:
    gallery, query = clusters(100, 0), clusters(41, 1)
    run = trainer(EmbeddingMetrics())
    step = run.validate if stage == "val" else run.test
    step(Plain(), [loader(gallery), loader(query)], verbose=False)
    logged = {name: value.item() for name, value in run.callback_metrics.items()}

    for prefix, width in ((f"{stage}/", 8), (f"{stage}/encoder/", 4)):
        rows, queries = (nn.functional.normalize(part[0][:, :width].double()).numpy() for part in (gallery, query))
        ratios = np.cumsum(PCA().fit(rows).explained_variance_ratio_)
        assert logged[f"{prefix}effective_dimension"] == np.argmax(ratios >= 0.99) + 1
        votes = KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(rows, gallery[1])
        assert logged[f"{prefix}knn_accuracy"] == pytest.approx(votes.score(queries, query[1]), abs=1e-6)
        assert logged[f"{prefix}total_variance"] == pytest.approx(rows.var(axis=0, ddof=1).sum(), rel=0.02)


def test_each_validation_starts_afresh_and_the_sanity_check_leaves_no_rows() -> None:
    gallery, query = clusters(100, 0), clusters(41, 1)
    seen = []

    class Look(L.Callback):
        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append({k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")})

    run = trainer(EmbeddingMetrics(), Look(), max_epochs=2, num_sanity_val_steps=2)
    run.fit(Plain(), loader(gallery), [loader(gallery), loader(query)])
    sanity, first, second = seen
    assert sanity == {}
    assert first == second  # the data does not change, so neither may the numbers


def test_a_missing_output_lists_those_that_exist() -> None:
    loaders = [loader(clusters(20, 0)), loader(clusters(20, 1))]
    module = Plain({"rows": torch.zeros(13, 8), "targets": torch.zeros(13)})
    with pytest.raises(ValueError, match=r"must return a mapping with the key 'embeddings'; got dict with rows, targ"):
        trainer(EmbeddingMetrics(on_error="raise")).validate(module, loaders, verbose=False)
