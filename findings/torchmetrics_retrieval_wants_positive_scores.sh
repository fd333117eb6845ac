#!/usr/bin/env bash
# What torchmetrics' retrieval metrics make of scores that are not positive
#
# Guess: RetrievalMAP, RetrievalMRR, RetrievalRecall and the others rank documents by their score, so that adding a
# constant to all scores, or passing minus the distance, changes nothing.
#
# What happens (torchmetrics 1.9.0): before they rank, MAP, MRR and recall set the target of every document whose score
# is 0 or less to "not relevant" (`torch.where(preds > 0, target, 0)`). A perfect ranking by minus the Euclidean
# distance has MAP, MRR and recall 0, without a warning. Cosines lose the relevant documents on the far side: random
# queries have a *higher* MAP (0.098 instead of 0.086), for the mean is over what is left, and half the recall of all
# documents, which is 1. RetrievalHitRate and RetrievalNormalizedDCG do not do it, so that they disagree with the rest.
#
# What follows for us: our metrics rank rows themselves and never see a score. Where torchmetrics is the oracle, the
# tests give it 1 + cosine. Who compares our figures with torchmetrics' must do the same.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torchmetrics==1.9.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torchmetrics import retrieval

print(*(f"{name} {version(name)}" for name in ("torch", "torchmetrics")))
kinds = {
    "MAP": retrieval.RetrievalMAP,
    "MRR": retrieval.RetrievalMRR,
    "recall": retrieval.RetrievalRecall,
    "hit rate": retrieval.RetrievalHitRate,
    "nDCG": retrieval.RetrievalNormalizedDCG,
}


def value(kind, scores, target):
    metric = kind()
    queries = torch.arange(len(scores))[:, None].expand_as(scores)
    metric.update(scores.flatten(), target.flatten(), indexes=queries.flatten())
    return round(float(metric.compute()), 3)


# a perfect ranking: the relevant documents are the nearest ones
distance = torch.arange(1.0, 9.0).repeat(5, 1)
target = (distance < 3).long()
perfect = {name: (value(kind, 100 - distance, target), value(kind, -distance, target)) for name, kind in kinds.items()}
for name, (shifted, negative) in perfect.items():
    print(f"{name:9} by 100 - distance {shifted:.3f}, by -distance {negative:.3f}")

# cosines of random vectors
generator = torch.Generator().manual_seed(0)
query, gallery = (torch.nn.functional.normalize(torch.randn(n, 8, generator=generator)) for n in (40, 90))
cosine, target = query @ gallery.T, (torch.rand(40, 90, generator=generator) < 0.03).long()
target[:, 0] = 1  # each query has a relevant document
random = {name: (value(kind, 1 + cosine, target), value(kind, cosine, target)) for name, kind in kinds.items()}
for name, (shifted, plain) in random.items():
    print(f"{name:9} by 1 + cosine {shifted:.3f}, by cosine {plain:.3f}")

as_stated = (
    all(shifted == 1.0 for shifted, _ in perfect.values())
    and all(negative == (1.0 if name in ("hit rate", "nDCG") else 0.0) for name, (_, negative) in perfect.items())
    and random["MAP"] == (0.086, 0.098)
    and random["recall"] == (1.0, 0.491)
    and random["nDCG"][0] == random["nDCG"][1]
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   torch 2.13.0+cpu torchmetrics 1.9.0
#   MAP       by 100 - distance 1.000, by -distance 0.000
#   MRR       by 100 - distance 1.000, by -distance 0.000
#   recall    by 100 - distance 1.000, by -distance 0.000
#   hit rate  by 100 - distance 1.000, by -distance 1.000
#   nDCG      by 100 - distance 1.000, by -distance 1.000
#   MAP       by 1 + cosine 0.086, by cosine 0.098
#   MRR       by 1 + cosine 0.126, by cosine 0.123
#   recall    by 1 + cosine 1.000, by cosine 0.491
#   hit rate  by 1 + cosine 1.000, by cosine 1.000
#   nDCG      by 1 + cosine 0.323, by cosine 0.323
#   as stated
