#!/usr/bin/env bash
# The WhiteIsZero TIFF images that Pillow inverts, and those that it does not
#
# Guess: a grey TIFF image whose photometric interpretation is WhiteIsZero (scans, radiographs) comes out of Pillow
# with white as the large number, whatever its depth.
#
# What happens (Pillow 13.0.0): samples of 1 and of 8 bits are inverted, those of 16 bits and 32-bit floats are not.
# The same picture, saved once with 8 and once with 16 bits, is opened as itself and as its negative, and the mode is
# the one that BlackIsZero has too: only tag 262 tells. Besides, 32-bit unsigned samples become the signed mode "I", in
# which the largest of them is -1.
#
# What follows for us: the image reader inverts by tag 262 what has more than 8 bits, and reads unsigned values from
# the bytes of mode "I" (`eight_bit` in our data modules); a folder that mixes depths would else train on
# pictures and negatives under one label. If this finding is out of date, the reader inverts twice.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 tifffile==2026.3.3

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys
from importlib.metadata import version

import numpy as np
import tifffile
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("numpy", "pillow", "tifffile")))


def opened(stored, photometric):
    """Returns the mode and the values that Pillow gives for these stored samples."""
    file = io.BytesIO()
    tifffile.imwrite(file, stored, photometric=photometric)
    with Image.open(file) as image:
        return image.mode, np.asarray(image).ravel().tolist()


ramp = np.array([[0.0, 0.2, 0.8, 1.0]])  # as stored; under WhiteIsZero 0 is white
seen = {}
for name, samples in (
    ("1 bit", ramp > 0.5),
    ("8 bits", (ramp * 255).round().astype(np.uint8)),
    ("16 bits", (ramp * 65535).round().astype(np.uint16)),
    ("float", ramp.astype(np.float32)),
):
    mode, black = opened(samples, "minisblack")
    _, white = opened(samples, "miniswhite")
    seen[name] = "inverted" if white == black[::-1] and white != black else "not inverted" if white == black else "other"
    print(f"{name:8} mode {mode:5} BlackIsZero {black} WhiteIsZero {white}: {seen[name]}")
mode, wide = opened(np.array([[0, 1, 2**32 - 1]], dtype=np.uint32), "minisblack")
print("32-bit unsigned 0, 1 and 4294967295:", mode, wide)

as_stated = (
    seen == {"1 bit": "inverted", "8 bits": "inverted", "16 bits": "not inverted", "float": "not inverted"}
    and (mode, wide) == ("I", [0, 1, -1])
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 pillow 13.0.0 tifffile 2026.3.3
#   1 bit    mode 1     BlackIsZero [False, False, True, True] WhiteIsZero [True, True, False, False]: inverted
#   8 bits   mode L     BlackIsZero [0, 51, 204, 255] WhiteIsZero [255, 204, 51, 0]: inverted
#   16 bits  mode I;16  BlackIsZero [0, 13107, 52428, 65535] WhiteIsZero [0, 13107, 52428, 65535]: not inverted
#   float    mode F     BlackIsZero [0.0, 0.20000000298023224, 0.800000011920929, 1.0] WhiteIsZero [0.0, 0.20000000298023224, 0.800000011920929, 1.0]: not inverted
#   32-bit unsigned 0, 1 and 4294967295: I [0, 1, -1]
#   as stated
