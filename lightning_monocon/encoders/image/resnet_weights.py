# SPDX-License-Identifier: Apache-2.0
"""Read the weights of a residual network with basic layers, under the names of torchvision or transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lightning_monocon.encoders.hub import is_local, optional_package, reachable
from lightning_monocon.encoders.image.tensor_file import read_tensors

TORCHVISION_URL = "https://download.pytorch.org/models/resnet34-b627a593.pth"
"""ImageNet weights of torchvision's ResNet-34 (IMAGENET1K_V1); the name ends in the first digits of their SHA-256."""

_NORMALISATION = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_RULES = (
    (r"conv1\.weight", r"embedder.embedder.convolution.weight"),
    (rf"bn1\.{_NORMALISATION}", r"embedder.embedder.normalization.\1"),
    (r"layer(\d)\.(\d+)\.conv(\d)\.weight", r"encoder.stages.{0}.layers.\2.layer.{1}.convolution.weight"),
    (rf"layer(\d)\.(\d+)\.bn(\d)\.{_NORMALISATION}", r"encoder.stages.{0}.layers.\2.layer.{1}.normalization.\4"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.weight", r"encoder.stages.{0}.layers.\2.shortcut.convolution.weight"),
    (rf"layer(\d)\.(\d+)\.downsample\.1\.{_NORMALISATION}", r"encoder.stages.{0}.layers.\2.shortcut.normalization.\3"),
)


def transformers_name(name: str) -> str:
    """Return the name that transformers' `ResNetModel` gives a parameter or buffer of torchvision's ResNet.

    Example:
        >>> transformers_name("layer2.0.conv1.weight")
        'encoder.stages.1.layers.0.layer.0.convolution.weight'

    Raises:
        ValueError: If it is not one of the names of a ResNet with basic layers.
    """
    for pattern, template in _RULES:
        if match := re.fullmatch(pattern, name):
            numbers = [int(group) - 1 for group in match.groups() if group.isdigit()]  # torchvision counts from 1
            return match.expand(template.format(*numbers[:1], *numbers[2:3]))
    raise ValueError(f"`weights` must hold a ResNet with basic layers; {name!r} is not one of its parameters.")


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict under transformers' names, without the classifier; a pure change of keys.

    Args:
        state: Names of torchvision's ResNet, of transformers' `ResNetModel` or of its classification model.
    """
    if "conv1.weight" in state:
        return {transformers_name(name): value for name, value in state.items() if not name.startswith("fc.")}
    names = {name: name.removeprefix("resnet.") for name in state if not name.startswith("classifier.")}
    return {new: state[old] for old, new in names.items()}


def read_weights(source: str) -> dict[str, Tensor]:
    """Return the weights that ``source`` names, under transformers' names.

    Args:
        source: ``"torchvision"`` (downloaded once, checked against its hash), a ``.pth``, ``.pt`` or ``.safetensors``
            file, or a folder or a hub's name for transformers. A file or folder needs no network.

    Raises:
        RuntimeError: If there is neither such a file nor a hub that has it.
        ValueError: If the file holds anything but tensors.
    """
    path = Path(source)
    with reachable("weights", source):
        if source == "torchvision":
            return renamed(
                torch.hub.load_state_dict_from_url(
                    TORCHVISION_URL, map_location="cpu", check_hash=True, progress=False, weights_only=True
                )
            )
        if path.is_file():
            return renamed(read_tensors(path))
        model = optional_package("transformers", "vision").AutoModel.from_pretrained(
            source, local_files_only=is_local(source), trust_remote_code=False
        )
    return renamed(model.state_dict())
