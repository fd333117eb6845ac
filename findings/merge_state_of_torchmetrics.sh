#!/usr/bin/env bash
# What torchmetrics' `merge_state` merges
#
# Guess: `a.merge_state(b)` makes `a` the metric that saw the data of both, first its own and then b's: `compute()`
# gives the value of both from then on, a state that is a mean is weighted by how many updates each side saw, and
# `load_state_dict` likewise makes `compute()` give what was loaded.
#
# What happens (torchmetrics 1.9.0), three things:
# - After `a.compute()`, `merge_state` and `load_state_dict` change the state, but `compute()` keeps giving the old
#   value until the next `update` or `reset`: the cached value is not dropped.
# - A state with `dist_reduce_fx="mean"` is weighted by a's count alone, the wrong way about: the incoming side gets
#   a's updates less one, a itself one. 0 after one update and 10 after nine (mean 9) merge to 0 into the one and to
#   1.11 into the other. `merge_state` uses the formula that `forward` uses, where a count always means "all batches
#   before".
# - A list state gets b's rows *first*, so that `CatMetric` of [1] and [2, 3] is [2, 3, 1].
#
# What follows for us: our metrics keep sums and counts, no "mean" states. Whoever merges shards of them must merge
# before any `compute()`, and rows that belong together (embeddings, labels, ids) must be states of one metric, merged
# in the same call, never compared by position with something that was kept elsewhere.
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
from torchmetrics import CatMetric, MeanMetric, Metric

print(*(f"{name} {version(name)}" for name in ("torch", "torchmetrics")))


def fed(metric, *values):
    for value in values:
        metric.update(value)
    return metric


# 1: the cached value
fresh = fed(MeanMetric(), 1.0)
fresh.merge_state(fed(MeanMetric(), 3.0))
asked = fed(MeanMetric(), 1.0)
asked.compute()
asked.merge_state(fed(MeanMetric(), 3.0))
total, stale = float(asked.mean_value / asked.weight), float(asked.compute())
print(f"merged before compute(): {float(fresh.compute())}; after compute(): {stale}, though its states say {total}")

saved = fed(MeanMetric(), 3.0)
saved.persistent(True)
loaded = fed(MeanMetric(), 1.0)
loaded.persistent(True)
loaded.compute()
loaded.load_state_dict(saved.state_dict())
state, kept = float(loaded.mean_value / loaded.weight), float(loaded.compute())
print(f"load_state_dict after compute(): {kept}, though its states say {state}")
loaded.update(3.0)
print("after one more update:", float(loaded.compute()))


# 2: a state that is a mean
class Mean(Metric):
    full_state_update = False

    def __init__(self):
        super().__init__()
        self.add_state("mean", torch.tensor(0.0), dist_reduce_fx="mean")

    def update(self, value):
        self.mean = self.mean + (value - self.mean) / self.update_count

    def compute(self):
        return self.mean


stepped = Mean()
for value in (0.0, *[10.0] * 9):
    stepped(value)
together = float(stepped.compute())
few, many = fed(Mean(), 0.0), fed(Mean(), *[10.0] * 9)
few.merge_state(many)
into_few = float(few.compute())
few, many = fed(Mean(), 0.0), fed(Mean(), *[10.0] * 9)
many.merge_state(few)
into_many = float(many.compute())
print(f"0 once and 10 nine times: one metric {together:.2f}, nine into one {into_few:.2f}, one into nine {into_many:.2f}")

# 3: the order of a list
rows = fed(CatMetric(), 1.0)
rows.merge_state(fed(CatMetric(), 2.0, 3.0))
print("[1] merged with [2, 3]:", order := rows.compute().tolist())

as_stated = (
    float(fresh.compute()) == 2.0
    and (total, stale) == (2.0, 1.0)
    and (state, kept) == (3.0, 1.0)
    and float(loaded.compute()) == 3.0
    and abs(together - 9) < 1e-5
    and into_few == 0.0
    and abs(into_many - 10 / 9) < 1e-5
    and order == [2.0, 3.0, 1.0]
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   torch 2.13.0+cpu torchmetrics 1.9.0
#   merged before compute(): 2.0; after compute(): 1.0, though its states say 2.0
#   load_state_dict after compute(): 1.0, though its states say 3.0
#   after one more update: 3.0
#   0 once and 10 nine times: one metric 9.00, nine into one 0.00, one into nine 1.11
#   [1] merged with [2, 3]: [2.0, 3.0, 1.0]
#   as stated
