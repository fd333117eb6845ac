#!/usr/bin/env bash
# model2vec's int8 weights give vectors in another unit than its float weights
#
# Guess: `from_pretrained(folder, quantize_to="int8")` ("The dtype to quantize the model to") costs precision and
# nothing else: `encode` returns float32 and what it returns is the vector of the float model, to half a step.
#
# What happens (model2vec 0.10.0): the weights are divided by their largest magnitude / 127 and rounded, and that step
# is thrown away: `encode` returns means of whole numbers. With `normalize=False`, the default of `StaticModel`, vectors
# of a table whose numbers are about .05 come out 565 times as long. The direction is right (cosine .9999), so that
# cosine hides it, but a float query among rows of the int8 model finds under L2 whichever row is shortest, the same for
# every query. float16 weights keep the unit. Saved and loaded, the int8 model stays so: no file holds the step.
#
# What follows for us: a store's rows and queries come from one precision of a model, and vectors of an int8 model2vec
# are normalised before they meet others.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    model2vec==0.10.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6

cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

print(*(f"{name} {version(name)}" for name in ("model2vec", "tokenizers", "numpy")))
random = np.random.default_rng(0)
words = [f"w{place}" for place in range(500)]
places = {"[UNK]": 0, **{word: 1 + place for place, word in enumerate(words)}}
tokenizer = Tokenizer(WordLevel(places, unk_token="[UNK]"))
tokenizer.pre_tokenizer = Whitespace()
table = (0.05 * random.standard_normal((501, 64))).astype(np.float32)
StaticModel(table, tokenizer).save_pretrained("model")
StaticModel.from_pretrained("model", quantize_to="int8").save_pretrained("model-int8")

texts = [" ".join(random.choice(words, random.integers(3, 12))) for _ in range(300)]
right = StaticModel.from_pretrained("model").encode(texts)


def likeness(vectors):
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(right, axis=1)
    return float(((vectors * right).sum(1) / lengths).min())


def report(name, vectors):
    """Returns the length against the float model's, the least cosine to it, and how many texts find their own row."""
    vectors = vectors.astype(np.float32)
    longer = float(np.median(np.linalg.norm(vectors, axis=1) / np.linalg.norm(right, axis=1)))
    nearest = ((right[:, None] - vectors[None]) ** 2).sum(2).argmin(1)
    own = float((nearest == np.arange(len(texts))).mean())
    print(
        f"{name:25} {longer:5.1f} times as long, cosine from {likeness(vectors):.4f}; "
        f"L2: {own:6.1%} find their own row, {len(set(nearest.tolist())):3} rows found"
    )
    return longer, likeness(vectors), own


seen = {
    "float16": report("float16", StaticModel.from_pretrained("model", quantize_to="float16").encode(texts)),
    "int8": report("int8", StaticModel.from_pretrained("model", quantize_to="int8").encode(texts)),
    "saved": report("int8, saved and loaded", StaticModel.from_pretrained("model-int8").encode(texts)),
}
step = float(np.abs(table).max()) / 127
back = step * StaticModel.from_pretrained("model-int8").encode(texts)
seen["times the step"] = report("int8, times the lost step", back)
print(f"1 / the lost step: {1 / step:.1f}")

as_stated = all(
    abs(longer * step - 1) < 0.01 and cosine > 0.999 and own < 0.1
    for longer, cosine, own in (seen["int8"], seen["saved"])
) and all(abs(seen[name][0] - 1) < 0.01 and seen[name][2] == 1 for name in ("float16", "times the step"))
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   model2vec 0.10.0 tokenizers 0.23.3 numpy 2.4.6
#   float16                     1.0 times as long, cosine from 1.0000; L2: 100.0% find their own row, 300 rows found
#   int8                      565.3 times as long, cosine from 0.9999; L2:   0.3% find their own row,   1 rows found
#   int8, saved and loaded    565.3 times as long, cosine from 0.9999; L2:   0.3% find their own row,   1 rows found
#   int8, times the lost step   1.0 times as long, cosine from 0.9999; L2: 100.0% find their own row, 300 rows found
#   1 / the lost step: 565.2
#   as stated
