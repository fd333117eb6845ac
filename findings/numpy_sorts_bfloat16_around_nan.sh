#!/usr/bin/env bash
# NumPy's sort of bfloat16 numbers is no longer sorted when one of them is NaN
#
# Guess: `np.sort` puts NaN last, as it documents, for the types of ml_dtypes as for float16: `np.argsort(-scores)` ranks
# all other rows rightly whatever one broken row has as its score, and `np.median` of such scores is NaN, which is seen.
#
# What happens (numpy 2.4.6, ml_dtypes 0.6.0): sorting takes NaN as equal to every number. A stable sort of 1 000 scores
# with one NaN in the middle is two sorted halves with the NaN between them, and the ten best by `np.argsort` hold five of
# the ten best; `np.argpartition` does likewise. `np.median` and `np.percentile` give a number without a warning,
# `np.unique` returns values twice, and `np.nan_to_num` leaves the NaN in place. float8 is the same, float16 is right
# throughout. `argmax`, `nanmax` and `isnan` know NaN in all of them.
#
# What follows for us: arrays of bfloat16 that are given to the scorecard are widened to float32 and refused if they are
# not finite, before anything is sorted. Scores from elsewhere are widened before NumPy sorts them.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import ml_dtypes
import numpy as np

print(*(f"{name} {version(name)}" for name in ("numpy", "ml_dtypes")))
scores = np.random.default_rng(0).standard_normal(1000)
scores[500] = np.nan


def seen(kind):
    held = scores.astype(kind)
    wide = held.astype(np.float64)
    best = set(np.argsort(-wide, kind="stable")[:10].tolist())
    ordered = np.sort(held, kind="stable").astype(np.float64)
    numbers = ordered[~np.isnan(ordered)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        median, middle = float(np.median(held)), float(np.percentile(held, 50))
    return {
        "place of NaN": int(np.flatnonzero(np.isnan(ordered))[0]),
        "steps down": int((np.diff(numbers) < 0).sum()),
        "of the ten best by argsort": len(best & set(np.argsort(-held, kind="stable")[:10].tolist())),
        "by argpartition": len(best & set(np.argpartition(-held, 10)[:10].tolist())),
        "median": round(median, 3),
        "percentile": round(middle, 3),
        "true": round(float(np.nanmedian(wide)), 3),
        "warnings": len(caught),
        "repeated by unique": len(np.unique(held)) - len(np.unique(wide)),
        "NaN after nan_to_num": int(np.isnan(np.nan_to_num(held)).sum()),
        "argmax finds NaN": int(np.argmax(held)) == 500,
        "nanmax is right": float(np.nanmax(held)) == np.nanmax(wide).item(),
    }


found = {}
for kind in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
    found[np.dtype(kind).name] = seen(kind)
    print(f"{np.dtype(kind).name}:", found[np.dtype(kind).name])

right = found.pop("float16")
as_stated = (
    right["place of NaN"] == 999
    and right["steps down"] == right["repeated by unique"] == right["NaN after nan_to_num"] == 0
    and right["of the ten best by argsort"] == right["by argpartition"] == 10
    and all(np.isnan(right[name]) for name in ("median", "percentile"))
    and all(
        one["place of NaN"] < 999
        and one["steps down"] > 0
        and one["of the ten best by argsort"] < 8
        and not np.isnan(one["median"])
        and not np.isnan(one["percentile"])
        and one["warnings"] == 0
        and one["NaN after nan_to_num"] == 1
        and one["argmax finds NaN"]
        and one["nanmax is right"]
        for one in found.values()
    )
    and found["bfloat16"]["repeated by unique"] > 0
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 ml_dtypes 0.6.0
#   float16: {'place of NaN': 999, 'steps down': 0, 'of the ten best by argsort': 10, 'by argpartition': 10, 'median': nan, 'percentile': nan, 'true': -0.076, 'warnings': 0, 'repeated by unique': 0, 'NaN after nan_to_num': 0, 'argmax finds NaN': True, 'nanmax is right': True}
#   bfloat16: {'place of NaN': 500, 'steps down': 1, 'of the ten best by argsort': 5, 'by argpartition': 4, 'median': -0.075, 'percentile': -0.075, 'true': -0.076, 'warnings': 0, 'repeated by unique': 2, 'NaN after nan_to_num': 1, 'argmax finds NaN': True, 'nanmax is right': True}
#   float8_e4m3fn: {'place of NaN': 500, 'steps down': 1, 'of the ten best by argsort': 5, 'by argpartition': 9, 'median': -0.078, 'percentile': -0.074, 'true': -0.078, 'warnings': 0, 'repeated by unique': 1, 'NaN after nan_to_num': 1, 'argmax finds NaN': True, 'nanmax is right': True}
#   float8_e5m2: {'place of NaN': 500, 'steps down': 1, 'of the ten best by argsort': 5, 'by argpartition': 10, 'median': -0.078, 'percentile': -0.078, 'true': -0.078, 'warnings': 0, 'repeated by unique': 1, 'NaN after nan_to_num': 1, 'argmax finds NaN': True, 'nanmax is right': True}
#   as stated
