#!/usr/bin/env bash
# torchmetrics' MAP of the first k falls when one more relevant document is found
#
# Guess: average precision at k is the sum of the precisions at the relevant ranks up to k, divided by the number of
# relevant documents, as trec_eval's `map_cut` has it, or by at most k of them. A list that shows one more relevant
# document, all else equal, has a higher one, and a list that finds one of three cannot reach 1.
#
# What happens (torchmetrics 1.9.0): `RetrievalMAP(top_k=k)` divides by the relevant documents that are *within* the
# first k. A list with one relevant document at rank 1, and two beyond k, has 1.0. Each one that a better model brings
# in below it lowers the figure: .833 with another at rank 3, .756 with all three. Over 200 queries with ten relevant
# documents each, a model that finds one at rank 1 for most queries, and no other, has a MAP@10 of .850; one whose
# lists hold the same and 3.7 more on average has .672. trec_eval has .085 and .321. Without `top_k` the two programs
# agree.
#
# What follows for us: `average_precision` divides by all relevant rows, as trec_eval does, and its docstring says so.
# The test that holds it against torchmetrics does so without `top_k`. MAP@k by torchmetrics is compared with no other
# figure.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 torchmetrics==1.9.0 pytrec-eval-terrier==0.5.11

OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W error - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pytrec_eval
import torch
from torchmetrics.retrieval import RetrievalMAP

print(*(f"{name} {version(name)}" for name in ("torch", "torchmetrics", "pytrec-eval-terrier")))


def both(lists, k):
    """Returns MAP@k by torchmetrics and by trec_eval, of lists that hold 1 where a document is relevant, best first."""
    lists = np.asarray(lists)
    queries, length = lists.shape
    scores = np.tile(np.arange(length, 0, -1) / length, (queries, 1))
    metric = RetrievalMAP(top_k=k)
    indexes = np.repeat(np.arange(queries), length)
    metric.update(torch.tensor(scores.ravel()), torch.tensor(lists.ravel()), torch.tensor(indexes))

    name = f"map_cut_{k}" if k else "map"
    run = {str(q): {str(d): float(scores[q, d]) for d in range(length)} for q in range(queries)}
    truth = {str(q): {str(d): int(lists[q, d]) for d in range(length)} for q in range(queries)}
    judged = pytrec_eval.RelevanceEvaluator(truth, {f"map_cut.{k}" if k else "map"}).evaluate(run)
    return float(metric.compute()), float(np.mean([one[name] for one in judged.values()]))


one_list = {
    "rank 1": [1, 0, 0, 0, 0, 0, 1, 1],
    "ranks 1 and 3": [1, 0, 1, 0, 0, 0, 1, 0],
    "ranks 1, 3 and 5": [1, 0, 1, 0, 1, 0, 0, 0],
}
single = {name: both([one], 5) for name, one in one_list.items()}
for name, (theirs, trec) in single.items():
    print(f"three relevant, found at {name} of 5: torchmetrics {theirs:.3f}, trec_eval {trec:.3f}")

QUERIES, LENGTH, RELEVANT = 200, 100, 10
random = np.random.default_rng(0)
first = np.zeros((QUERIES, LENGTH), dtype=int)
first[:, 0] = random.random(QUERIES) < 0.9
more = first.copy()
more[:, 1:10] = random.random((QUERIES, 9)) < 0.4
for lists in (first, more):
    for own in lists:  # the other relevant documents stand at the end
        own[LENGTH - RELEVANT + own.sum() :] = 1
models = {"one at rank 1": first, "the same and others": more}
seen = {name: (both(lists, 10), both(lists, None), float(lists[:, :10].mean())) for name, lists in models.items()}
for name, (at_ten, whole, found) in seen.items():
    print(f"{name:19}: {10 * found:.2f} of ten found; MAP@10 {at_ten[0]:.3f} and {at_ten[1]:.3f};", end=" ")
    print(f"MAP {whole[0]:.3f} and {whole[1]:.3f}")

few, many = seen.values()
as_stated = (
    np.allclose([theirs for theirs, _ in single.values()], [1, 5 / 6, (1 + 2 / 3 + 3 / 5) / 3], atol=1e-6)
    and np.allclose([trec for _, trec in single.values()], [1 / 3, 5 / 9, (1 + 2 / 3 + 3 / 5) / 3], atol=1e-6)
    and few[0][0] > many[0][0] + 0.05
    and few[0][1] < many[0][1] - 0.1
    and all(abs(whole[0] - whole[1]) < 1e-5 for _, whole, _ in seen.values())
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   torch 2.13.0+cpu torchmetrics 1.9.0 pytrec-eval-terrier 0.5.11
#   three relevant, found at rank 1 of 5: torchmetrics 1.000, trec_eval 0.333
#   three relevant, found at ranks 1 and 3 of 5: torchmetrics 0.833, trec_eval 0.556
#   three relevant, found at ranks 1, 3 and 5 of 5: torchmetrics 0.756, trec_eval 0.756
#   one at rank 1      : 0.85 of ten found; MAP@10 0.850 and 0.085; MAP 0.141 and 0.141
#   the same and others: 4.58 of ten found; MAP@10 0.672 and 0.321; MAP 0.363 and 0.363
#   as stated
