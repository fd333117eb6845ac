# SPDX-License-Identifier: Apache-2.0
"""Turn inputs into feature vectors, by encoders that a closed registry rebuilds from a checkpoint.

A checkpoint names its encoder by a registered name and plain arguments, never by an import path: loading a file must
not import, read or download anything that the file names. A description therefore holds only sizes and words of closed
lists; the caller chooses the source of pretrained weights, in the constructor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias, cast, runtime_checkable

from torch import nn

from lightning_monocon.encoders.image import SmallCNN
from lightning_monocon.encoders.image.efficientnet_lite import EfficientNetLite0
from lightning_monocon.encoders.image.resnet import ResNet
from lightning_monocon.encoders.image.timm_model import TimmEncoder
from lightning_monocon.encoders.image.torchvision_model import TorchvisionEncoder
from lightning_monocon.encoders.image.transformers_model import TransformersImageEncoder
from lightning_monocon.encoders.modular import ModularEncoder
from lightning_monocon.encoders.text import TextEncoder
from lightning_monocon.encoders.text.sentence_transformers_model import SentenceTransformersEncoder
from lightning_monocon.encoders.wrapped import unwrapped

__all__ = [
    "REGISTRY",
    "EfficientNetLite0",
    "Encoder",
    "EncoderSpec",
    "ModularEncoder",
    "ResNet",
    "SentenceTransformersEncoder",
    "SmallCNN",
    "TextEncoder",
    "TimmEncoder",
    "TorchvisionEncoder",
    "TransformersImageEncoder",
    "build_encoder",
    "encoder_spec",
    "feature_dim",
]

EncoderSpec: TypeAlias = dict[str, object]
"""``{"name": registered name, **constructor arguments}``; only numbers, strings and lists."""

REGISTRY: dict[str, type[nn.Module]] = {
    "small_cnn": SmallCNN,
    "modular": ModularEncoder,
    "resnet": ResNet,
    "efficientnet_lite0": EfficientNetLite0,
    "transformers_image": TransformersImageEncoder,
    "torchvision": TorchvisionEncoder,
    "timm": TimmEncoder,
    "text": TextEncoder,
    "sentence_transformers": SentenceTransformersEncoder,
}

_DESCRIBED: dict[str, tuple[str, ...]] = {
    "small_cnn": ("in_channels", "widths", "pools"),
    "modular": ("modulus", "embedding", "width"),
    "resnet": ("stem", "depths", "widths", "in_channels"),
    "efficientnet_lite0": ("image_size",),
    "transformers_image": ("config", "pooling"),
    "torchvision": ("model",),  # a name of torchvision's own list of architectures
    "timm": ("model", "image_size", "stage"),  # likewise
    "text": ("config", "pooling", "length_groups"),
    "sentence_transformers": ("config", "steps", "length_groups"),
}
"""Arguments that a description may hold: with none of them an encoder reads or downloads anything."""


@runtime_checkable
class Encoder(Protocol):
    """Describe what an encoder of the registry has beyond `nn.Module`."""

    @property
    def out_features(self) -> int:
        """Return the number of features per input."""
        ...

    def spec(self) -> Mapping[str, object]:
        """Return the constructor's arguments as plain values, without sources of weights."""
        ...


def encoder_spec(encoder: nn.Module) -> EncoderSpec | None:
    """Return the name and arguments of a registered encoder, compiled or not, ``None`` for any other module."""
    encoder = unwrapped(encoder)
    for name, kind in REGISTRY.items():
        if type(encoder) is kind:
            return {"name": name, **cast(Encoder, encoder).spec()}
    return None


def build_encoder(spec: Mapping[str, object]) -> nn.Module:
    """Build the encoder that ``spec`` describes, with fresh weights; nothing is read or downloaded.

    Raises:
        ValueError: If the name is not registered, or an argument is missing, unknown or not the description of an
            architecture by plain values.
    """
    arguments = dict(spec)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in REGISTRY:
        raise ValueError(f"`spec` must name a registered encoder ({', '.join(REGISTRY)}), got {name!r}.")

    for argument, value in arguments.items():
        if argument not in _DESCRIBED[name] or not _is_plain(value):
            raise ValueError(
                f"`spec` must describe a {name} encoder by plain values of {', '.join(_DESCRIBED[name])}; got "
                f"{argument} = {str(value)[:80]!r}. A file may not name models, files or folders: build "
                "the encoder yourself and pass it as `encoder=`."
            )
    if name in ("transformers_image", "text", "sentence_transformers") and not isinstance(arguments.get("config"), str):
        raise ValueError(f"`spec` must hold the architecture of a {name} encoder as `config`; got {sorted(arguments)}.")

    try:
        return REGISTRY[name](**arguments)
    except TypeError as error:
        raise ValueError(f"`spec` must describe a {name} encoder; {error}.") from error


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def feature_dim(encoder: nn.Module, in_features: int | None = None) -> int:
    """Return the width of the encoder's output: the argument if given, else ``encoder.out_features``.

    Raises:
        ValueError: If neither gives it.
    """
    width = in_features if in_features is not None else getattr(unwrapped(encoder), "out_features", None)
    if not isinstance(width, int) or width < 1:
        raise ValueError(
            f"`in_features` must be the positive width of the encoder's output; {type(encoder).__name__} has no "
            f"integer `out_features`, and in_features={in_features}. Pass `in_features=<width>`."
        )
    return width
