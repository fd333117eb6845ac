# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory of the metrics beside scikit-learn, each arm in a process of its own.

Run    python benchmarks/metrics_cpu.py [--train 50000] [--test 10000] [--width 512]
Arms   spectral   effective dimension and reconstruction error, against what the reference scripts do with
                  scikit-learn: `PCA(0.99)` and then `PCA(k)` on the train rows, and the round trip of the test rows
       search     5-NN accuracy, Recall@1 and Recall@5 in one pass, against scikit-learn's 5-NN alone
Times are CPU seconds on one thread; memory is the peak beyond the inputs, in MB. `search, metric class` holds the rows
in its state too, as a validation loop does. Writes results/DATE-metrics_cpu.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch
from harness import Row, in_fresh_process, peak_megabytes, seconds, write
from torch import Tensor

CLASSES = 100


def data(rows: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clusters on a power-law spectrum, float32, rotated so that no feature is a principal axis."""
    fixed, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, width, generator=fixed)
    mix = torch.linalg.qr(torch.randn(width, width, generator=fixed)).Q
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    spread = torch.arange(1.0, width + 1).pow(-0.5)
    found = torch.randn(rows, width, generator=generator).add_(centres[labels], alpha=0.5).mul_(spread)
    return found @ mix, labels


def unit(rows: Tensor, dtype: type) -> np.ndarray:
    array = rows.numpy().astype(dtype)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def ours_spectral(gallery: Tensor, query: Tensor, _: Tensor, __: Tensor) -> dict[str, float]:
    from torchmetrics import MetricCollection

    from lightning_monocon.metrics import EffectiveDimension, ReconstructionError

    collection = MetricCollection([EffectiveDimension(), ReconstructionError()])
    for role, rows in (("gallery", gallery), ("query", query)):
        for batch in rows.split(4096):
            collection.update(embeddings=batch, role=role)
    values = collection.compute()
    return {"dimension": float(values["EffectiveDimension"]), "rmse": float(values["rmse"])}


def sklearn_spectral(gallery: Tensor, query: Tensor, dtype: type) -> dict[str, float]:
    from sklearn.decomposition import PCA

    train, test = unit(gallery, dtype), unit(query, dtype)
    dimension = int(PCA(0.99).fit(train).n_components_)
    pca = PCA(dimension).fit(train)
    rmse = np.sqrt(np.mean((test - pca.inverse_transform(pca.transform(test))) ** 2))
    return {"dimension": float(dimension), "rmse": float(rmse)}


def ours_search(gallery: Tensor, query: Tensor, known: Tensor, truth: Tensor) -> dict[str, float]:
    from lightning_monocon.functional import neighbour_scores

    scores = neighbour_scores(gallery, known, query, truth, 5, (1, 5))
    return {name: float(value) for name, value in scores.items()}


def class_search(gallery: Tensor, query: Tensor, known: Tensor, truth: Tensor) -> dict[str, float]:
    from lightning_monocon.metrics import NeighbourScores

    metric = NeighbourScores()
    for role, rows, labels in (("gallery", gallery, known), ("query", query, truth)):
        for batch, part in zip(rows.split(4096), labels.split(4096), strict=True):
            metric.update(batch, part, role)
    return {name: float(value) for name, value in metric.compute().items()}


def sklearn_search(gallery: Tensor, query: Tensor, known: Tensor, truth: Tensor, metric: str) -> dict[str, float]:
    from sklearn.neighbors import KNeighborsClassifier

    train, test = (
        (gallery.numpy(), query.numpy()) if metric == "cosine" else (unit(gallery, np.float32), unit(query, np.float32))
    )
    model = KNeighborsClassifier(5, metric=metric, algorithm="brute").fit(train, known.numpy())
    return {"knn_accuracy": float(model.score(test, truth.numpy()))}


ARMS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, float]]] = {
    "spectral, ours": ours_spectral,
    "spectral, scikit-learn float64": lambda g, q, _, __: sklearn_spectral(g, q, np.float64),
    "spectral, scikit-learn float32": lambda g, q, _, __: sklearn_spectral(g, q, np.float32),
    "search, ours": ours_search,
    "search, metric class": class_search,
    "search, scikit-learn cosine": lambda g, q, a, b: sklearn_search(g, q, a, b, "cosine"),
    "search, scikit-learn euclidean on unit rows": lambda g, q, a, b: sklearn_search(g, q, a, b, "euclidean"),
}


def measure(arm: str, train: int, test: int, width: int) -> None:
    """Print what one arm costs; run in a process of its own."""
    (gallery, known), (query, truth) = data(train, width, 1), data(test, width, 2)
    # A small run first: imports and thread pools are not the arm's.
    ARMS[arm](gallery[:2000], query[:100], known[:2000], truth[:100])
    values: dict[str, float] = {}
    spent: list[float] = []

    def step() -> None:
        spent.append(seconds(lambda: values.update(ARMS[arm](gallery, query, known, truth))))

    megabytes = peak_megabytes(step)
    print(json.dumps({"arm": arm, "CPU s": round(spent[0], 2), "MB": round(megabytes), **values}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--train", 50_000), ("--test", 10_000), ("--width", 512)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--worker", nargs=4, metavar=("ARM", "TRAIN", "TEST", "WIDTH"))
    options = parser.parse_args()
    if options.worker:
        measure(options.worker[0], *map(int, options.worker[1:]))
        return
    tables: dict[str, list[Row]] = {"spectral": [], "search": []}
    for arm in ARMS:
        row = in_fresh_process(__file__, [arm, options.train, options.test, options.width])
        table = tables[arm.split(",")[0]]
        base = float(str(table[0]["CPU s"])) if table else float(str(row["CPU s"]))
        table.append(row | {"CPU time over ours": round(float(str(row["CPU s"])) / base, 2)})
        print(table[-1], flush=True)
    for table in tables.values():
        for row in table:
            row |= {key: row.get(key, "-") for key in table[0]}
    write("metrics_cpu", f"Metrics, {options.train} x {options.width} train and {options.test} test rows", tables)


if __name__ == "__main__":
    main()
