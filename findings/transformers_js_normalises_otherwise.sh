#!/usr/bin/env bash
# `normalize` of a tensor in transformers.js turns zeros into NaN, and flips a row under the 1-norm
#
# Guess: methods of its `Tensor` that have the names and arguments of torch's do what torch's do: `normalize(p, dim)`
# divides by the p-norm of magnitudes and leaves a row of zeros as zeros, and `norm`, `sum` and `mean` of int8 are right
# numbers.
#
# What happens (@huggingface/transformers 4.3.2, which browsers and Node embed with): there is no smallest length to
# divide by, so a row of zeros becomes NaN, and with it every cosine of that row. The numbers are raised to the power p
# with their signs: the 1-norm of (3, -4) is -1, and `normalize(1)` gives (-3, 4), which points the other way. The
# 3-norm of (1, -2) is NaN. Results have the type of the tensor: of int8 codes 100, 100, 100 the sum is 44, the mean 14
# and the norm 6, and (3, 4) of int8 normalised is (0, 0). Pooling a text whose mask is all zeros is NaN too.
#
# What follows for us: heads with a ReLU and the first numbers of a longer vector may be zero rows; who normalises ours
# in a browser must look for them, and compute with float32.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit --ignore-scripts @huggingface/transformers@4.3.2

cat > seen.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import { Tensor, cos_sim, mean_pooling } from "@huggingface/transformers";

const { version } = JSON.parse(readFileSync("node_modules/@huggingface/transformers/package.json"));
console.log("@huggingface/transformers", version, "in Node", process.versions.node.split(".")[0]);

const float = (...numbers) => new Tensor("float32", Float32Array.from(numbers), [1, numbers.length]);
const int8 = (...numbers) => new Tensor("int8", Int8Array.from(numbers), [1, numbers.length]);
const numbers = (tensor) => Array.from(tensor.data);
const hidden = new Tensor("float32", Float32Array.from([1, 2, 3, 4]), [1, 2, 2]);
const masked = new Tensor("int64", new BigInt64Array(2), [1, 2]);
const seen = {
  "normalize(2) of 0, 0": numbers(float(0, 0).normalize(2, -1)),
  "normalize(2) of 3, -4": numbers(float(3, -4).normalize(2, -1)),
  "normalize(1) of 3, -4": numbers(float(3, -4).normalize(1, -1)),
  "norm(1) of 3, -4": numbers(float(3, -4).norm(1, 1)),
  "norm(3) of 1, -2": numbers(float(1, -2).norm(3, 1)),
  "cosine of 1, 0 and 0, 0": [cos_sim([1, 0], [0, 0])],
  "mean of nothing": numbers(mean_pooling(hidden, masked)),
  "sum of int8 100, 100, 100": numbers(int8(100, 100, 100).sum(1)),
  "mean of int8 100, 100, 100": numbers(int8(100, 100, 100).mean(1)),
  "norm(2) of int8 100, 100, 100": numbers(int8(100, 100, 100).norm(2, 1)),
  "normalize(2) of int8 3, 4": numbers(int8(3, 4).normalize(2, -1)),
};
for (const [name, values] of Object.entries(seen)) console.log(`${name}: ${values.map((x) => +x.toFixed(3)).join(", ")}`);

const stated = [
  [NaN, NaN], [Math.fround(0.6), Math.fround(-0.8)], [-3, 4], [-1], [NaN], [NaN], [NaN, NaN], [44], [14], [6], [0, 0],
];
const asStated = Object.values(seen).every((values, at) => values.every((x, i) => Object.is(x, stated[at][i])));
console.log(asStated ? "as stated" : "NOT as stated: this finding is out of date");
process.exit(asStated ? 0 : 1);
JAVASCRIPT
node seen.mjs

# Output:
#   @huggingface/transformers 4.3.2 in Node 20
#   normalize(2) of 0, 0: NaN, NaN
#   normalize(2) of 3, -4: 0.6, -0.8
#   normalize(1) of 3, -4: -3, 4
#   norm(1) of 3, -4: -1
#   norm(3) of 1, -2: NaN
#   cosine of 1, 0 and 0, 0: NaN
#   mean of nothing: NaN, NaN
#   sum of int8 100, 100, 100: 44
#   mean of int8 100, 100, 100: 14
#   norm(2) of int8 100, 100, 100: 6
#   normalize(2) of int8 3, 4: 0, 0
#   as stated
