#!/usr/bin/env bash
# torchmetrics' area under the ROC curve of cosines depends on the batches they came in
#
# Guess: the area under the ROC curve and the average precision rank rows by their scores. A sigmoid that torchmetrics
# applies to "logits", as its documentation says, keeps the order and so changes nothing, and the figure is the same
# whichever batches the rows came in.
#
# What happens (torchmetrics 1.9.0): each `update` looks whether a score of its own batch lies outside [0, 1], and if
# so takes the sigmoid of that batch alone. Some cosines are negative: batches that hold one are moved to [.27, .73],
# the others stay as they are, and rows of both kinds are ranked together. The area of the same 2000 cosines is .811
# in one batch, as in scikit-learn, and .763 in batches of 10; average precision is .808 and .773. Scores of several
# classes get a softmax over the classes in the same way. In one batch the order survives only while the sigmoid tells
# the scores apart: it is 1 for all float32 numbers from 17 upwards, and of cosines divided by a temperature of .01
# the area is .625. No warning is given.
#
# What follows for us: the package has no ROC curve, so torchmetrics' are what a user logs beside our figures. They
# are given (1 + cosine) / 2, which gives the same figures in batches of any size, and no scores divided by the
# temperature.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 scikit-learn==1.9.1 torchmetrics==1.9.0

OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W error - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision, MulticlassAUROC

print(*(f"{name} {version(name)}" for name in ("torch", "torchmetrics", "scikit-learn")))
COUNT = 2000


def in_batches(metric, scores, labels, size):
    for own, true in zip(scores.split(size), labels.split(size)):
        metric.update(own, true)
    return float(metric.compute())


random = np.random.default_rng(0)
labels = torch.arange(COUNT) % 2
cosines = torch.from_numpy(0.3 + 0.2 * random.standard_normal(COUNT)) + 0.25 * labels
cosines = cosines.clamp(-1, 1)
true = roc_auc_score(labels, cosines), average_precision_score(labels, cosines)
print(f"scikit-learn: area {true[0]:.3f}, average precision {true[1]:.3f}")

seen, moved = {}, {}
for size in (1, 10, 50, COUNT):
    metrics = BinaryAUROC, BinaryAveragePrecision
    seen[size] = [in_batches(metric(), cosines, labels, size) for metric in metrics]
    moved[size] = [in_batches(metric(), (1 + cosines) / 2, labels, size) for metric in metrics]
    print(f"batches of {size:4}: area {seen[size][0]:.3f}, average precision {seen[size][1]:.3f};", end=" ")
    print(f"of (1 + cosine) / 2: {moved[size][0]:.3f}, {moved[size][1]:.3f}")

hot = {scale: float(BinaryAUROC()((cosines * scale).float(), labels)) for scale in (1, 20, 100)}
print("one batch, cosines times", ", ".join(f"{scale}: {area:.3f}" for scale, area in hot.items()))

classes = torch.arange(COUNT) % 3
several = torch.from_numpy(0.3 + 0.2 * random.standard_normal((COUNT, 3)))
several[torch.arange(COUNT), classes] += 0.25
one_by_one = np.mean([roc_auc_score(classes == own, several[:, own]) for own in range(3)])
of_classes = {size: in_batches(MulticlassAUROC(3), several, classes, size) for size in (1, 10, COUNT)}
print(f"three classes: scikit-learn {one_by_one:.3f}, in batches of", {s: round(a, 3) for s, a in of_classes.items()})

as_stated = (
    np.allclose(seen[COUNT], true, atol=1e-4)
    and all(np.allclose(moved[size], true, atol=1e-4) for size in moved)
    and seen[10][0] < true[0] - 0.03
    and seen[10][1] < true[1] - 0.02
    and len({round(area, 3) for area, _ in seen.values()}) == len(seen)
    and abs(hot[20] - true[0]) < 1e-3
    and hot[100] < 0.7
    and of_classes[COUNT] > one_by_one + 0.01
    and of_classes[1] < of_classes[COUNT] - 0.03
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   torch 2.13.0+cpu torchmetrics 1.9.0 scikit-learn 1.9.1
#   scikit-learn: area 0.811, average precision 0.808
#   batches of    1: area 0.790, average precision 0.796; of (1 + cosine) / 2: 0.811, 0.808
#   batches of   10: area 0.763, average precision 0.773; of (1 + cosine) / 2: 0.811, 0.808
#   batches of   50: area 0.789, average precision 0.794; of (1 + cosine) / 2: 0.811, 0.808
#   batches of 2000: area 0.811, average precision 0.808; of (1 + cosine) / 2: 0.811, 0.808
#   one batch, cosines times 1: 0.811, 20: 0.811, 100: 0.625
#   three classes: scikit-learn 0.808, in batches of {1: 0.8, 10: 0.829, 2000: 0.86}
#   as stated
