#!/usr/bin/env bash
# A float64 column of Hugging Face datasets is exact in rows and rounded in batches, and `map` writes the rounded back
#
# Guess: `with_format("numpy")` gives a column in its own type, so that `map(batched=True)` with a function that returns
# what it was given changes nothing, batches hold what rows hold, and codes of int8 or uint8 stay bytes.
#
# What happens (datasets 5.2.0): arrays of floats become float32 and those of integers int64, whatever the column is; so
# much is known. But a number in a *row* is no array and keeps its type: 1700000001.0 is read from row 0, and
# 1700000000.0 from rows 0 to 1. `map` with `batched=True` stores the rounded number in a column that is still float64;
# without it the number is kept. A new column that is copied from codes of uint8 by `map` is a list of int64, eight
# times the bytes, and `np.unpackbits` refuses it. With `with_format("numpy", dtype=None)` types stay and all is well.
#
# What follows for us: codes and float64 scores are read from datasets with `dtype=None`. We read Parquet by pyarrow,
# which keeps types.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pyarrow==26.0.1 datasets==5.2.0

HF_HUB_OFFLINE=1 HF_HOME="$folder" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.metadata import version

import datasets
import numpy as np

print(*(f"{name} {version(name)}" for name in ("numpy", "datasets")))
datasets.disable_progress_bars()
TIME = 1700000001.0
columns = {"time": [TIME] * 4, "code": np.arange(16, dtype=np.uint8).reshape(4, 4)}
stored = datasets.Dataset.from_dict(columns)
seen = {}
for name, options in {"numpy": {}, "numpy, dtype=None": {"dtype": None}}.items():
    formatted = stored.with_format("numpy", **options)
    batched = formatted.map(lambda rows: {"time": rows["time"], "copy": rows["code"]}, batched=True)
    single = formatted.map(lambda row: {"time": row["time"], "copy": row["code"]})
    seen[name] = {
        "row": float(formatted[0]["time"]),
        "batch": float(formatted[:2]["time"][0]),
        "type of codes": str(formatted[:2]["code"].dtype),
        "map in batches": batched.with_format(None)[0]["time"],
        "map row by row": single.with_format(None)[0]["time"],
        "column": batched.features["time"].dtype,
        "copied codes": batched.features["copy"].feature.dtype,
    }
    print(name, *(f"  {what}: {value}" for what, value in seen[name].items()), sep="\n")

rounded = float(np.float32(TIME))
as_stated = (
    list(seen["numpy"].values()) == [TIME, rounded, "int64", rounded, TIME, "float64", "int64"]
    and list(seen["numpy, dtype=None"].values()) == [TIME, TIME, "uint8", TIME, TIME, "float64", "uint8"]
    and rounded == TIME - 1
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 datasets 5.2.0
#   numpy
#     row: 1700000001.0
#     batch: 1700000000.0
#     type of codes: int64
#     map in batches: 1700000000.0
#     map row by row: 1700000001.0
#     column: float64
#     copied codes: int64
#   numpy, dtype=None
#     row: 1700000001.0
#     batch: 1700000001.0
#     type of codes: uint8
#     map in batches: 1700000001.0
#     map row by row: 1700000001.0
#     column: float64
#     copied codes: uint8
#   as stated
