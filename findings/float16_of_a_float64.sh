#!/usr/bin/env bash
# The float16 of a float64, by five programs
#
# Guess: converting float64 to float16 is one operation of IEEE 754, rounded once to the nearest, ties to even. Every
# library therefore stores the same two bytes for the same number, and an ONNX `Cast` means what NumPy's `astype` means.
#
# What happens (numpy 2.4.6, onnx 1.23.2, onnxruntime 1.31.1, pyarrow 26.0.1): NumPy, Python's struct, pyarrow and
# the reference evaluator of onnx round once. onnxruntime rounds to float32 first and then again, so that a number just
# above the middle between two float16 goes down: 1 + 2^-11 + 2^-30 becomes 1.0 instead of 1.001, and 2^-25 + 2^-60
# becomes 0 instead of the smallest subnormal. One graph, two results, and no message.
#
# What follows for us: a float16 code rounds coordinates to float32 first and says so (docs/codes.md, `"half"`), which
# every library can do in two steps. The tests compare bytes of PyTorch, NumPy, the standard library and onnxruntime.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 pyarrow==26.0.1

"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
import pyarrow as pa
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {version(name)}" for name in ("numpy", "onnx", "onnxruntime", "pyarrow")))
numbers = np.array([1 + 2.0**-11 + 2.0**-30, 2.0**-25 + 2.0**-60, 1 + 2.0**-11])
given = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N"])
made = helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N"])
graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)], "cast", [given], [made])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

found = {
    "numpy": numbers.astype(np.float16),
    "struct": np.frombuffer(struct.pack("<3e", *numbers), "<f2"),
    "onnx reference": ReferenceEvaluator(model).run(None, {"x": numbers})[0],
    "onnxruntime": session.run(None, {"x": numbers})[0],
    "pyarrow": pa.array(numbers).cast(pa.float16()).to_numpy(),
    "by float32": numbers.astype(np.float32).astype(np.float16),
}
for name, halves in found.items():
    print(f"{name:16}", *(f"{bits:04x}" for bits in halves.view(np.uint16)))
once, twice = [0x3C01, 0x0001, 0x3C00], [0x3C00, 0x0000, 0x3C00]
expected = {name: twice if name in ("onnxruntime", "by float32") else once for name in found}
as_stated = {name: halves.view(np.uint16).tolist() for name, halves in found.items()} == expected
print("as stated" if as_stated else "no longer as stated")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 onnx 1.23.2 onnxruntime 1.31.1 pyarrow 26.0.1
#   numpy            3c01 0001 3c00
#   struct           3c01 0001 3c00
#   onnx reference   3c01 0001 3c00
#   onnxruntime      3c00 0000 3c00
#   pyarrow          3c01 0001 3c00
#   by float32       3c00 0000 3c00
#   as stated
