# SPDX-License-Identifier: Apache-2.0
"""Encode images by any model of timm, without its classifier."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import Tensor, nn

from lightning_monocon.encoders.hub import reachable
from lightning_monocon.encoders.image.preparation import Preparation, check_image_size
from lightning_monocon.encoders.image.tensor_file import undamaged
from lightning_monocon.encoders.image.torchvision_model import import_torchvision

_NAME = re.compile(r"\w+(\.\w+)?")  # without the schemes hf-hub: and local-dir:, which fetch and read


class TimmEncoder(nn.Module):
    """Encode images by a model of timm, built with ``num_classes=0``: its pooled features.

    timm imports torchvision, which must be a build for the installed torch. The data module must prepare the images as
    `preparation` says, such as ``CIFAR100Data(root, mean=encoder.preparation.mean, std=encoder.preparation.std)``.

    Args:
        model: Name of the model with or without the tag of its weights, such as ``"resnet18.a1_in1k"``.
        pretrained: False for fresh weights; True for those of the tag, from timm's hub (downloaded once); or the path
            of a ``.safetensors``, ``.pth`` or ``.bin`` file with the model's parameters. A file needs no network.
        image_size: Height and width of square images, for a model that is built for one size, such as a ViT.
        stage: Index of a feature map of those that timm's ``features_only`` gives, -1 for the last: the features are
            its mean over positions, and later layers are removed. ``None`` takes the features that the whole model
            pools by its own rule for its classifier.

    Raises:
        RuntimeError: If timm or torchvision does not import, or the weights cannot be loaded.
        TypeError: If ``image_size`` is not a whole number.
        ValueError: If timm has no such model, it has no size to choose or no such stage, or the file is of another
            model.
    """

    def __init__(
        self,
        model: str = "resnet18",
        *,
        pretrained: bool | str = False,
        image_size: int | None = None,
        stage: int | None = None,
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        timm = import_timm()
        if not _NAME.fullmatch(model) or not timm.is_model(model):
            raise ValueError(
                f"`model` must be a name that `timm.list_models()` has, with or without a tag; got {model!r}."
            )
        options: dict[str, Any] = {"num_classes": 0}
        if image_size is not None:
            options["img_size"] = image_size
        try:
            with reachable("pretrained", model):
                self.network: nn.Module = timm.create_model(model, pretrained=pretrained is True, **options)
        except TypeError as error:
            raise ValueError(
                f"`image_size` must be left out for {model!r}, which takes any; got {image_size}."
            ) from error
        except RuntimeError as error:
            if pretrained is not True or "Invalid pretrained tag" not in str(error):
                raise
            raise ValueError(f"`model` must have a tag of weights that timm knows; got {model!r}: {error}") from error
        if isinstance(pretrained, str):
            _load_file(self.network, Path(pretrained), model)
        self.model, self.image_size, self.stage = model, image_size, stage
        if stage is not None:
            self._stage, self._width = _keep_stages(self.network, stage, model)

    @property
    def out_features(self) -> int:
        """Return the number of features per image."""
        if self.stage is not None:
            return self._width
        # models with layers between the pooling and the classifier have a width of their own after those
        return int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)  # type: ignore[arg-type]

    @property
    def preparation(self) -> Preparation:
        """Return what the images must be prepared as."""
        found = import_module("timm.data").resolve_model_data_config(self.network)
        _, height, width = found["input_size"]
        size = (height, width) if self.image_size is None else (self.image_size, self.image_size)
        return Preparation(size, tuple(found["mean"]), tuple(found["std"]), found["interpolation"])

    def spec(self) -> dict[str, object]:
        """Return the model's name, the size of its images and the stage; the weights are in the checkpoint."""
        return {"model": self.model, "image_size": self.image_size, "stage": self.stage}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` to features ``(N, out_features)``."""
        if self.stage is None:
            return cast(Tensor, self.network(images)).flatten(1)
        take: Any = self.network.forward_intermediates
        maps: Tensor = take(images, indices=[self._stage], intermediates_only=True, output_fmt="NCHW", stop_early=True)[
            0
        ]
        return maps.mean(dim=(2, 3))


def import_timm() -> ModuleType:
    """Import timm; raise RuntimeError if it is missing, or torchvision does not import beside this torch."""
    import_torchvision("torchvision")
    try:
        return import_module("timm")
    except ImportError as error:
        raise RuntimeError(
            f"timm must be installed for `TimmEncoder`; importing it failed ({error}). Run `pip install --no-deps "
            "timm` beside a torchvision for this torch, or use `ResNet` or `TransformersImageEncoder`."
        ) from error


def _keep_stages(network: nn.Module, stage: int, model: str) -> tuple[int, int]:
    """Remove the layers behind a stage; return its index from the front and the channels of its map."""
    info: Any = getattr(network, "feature_info", None) or []
    widths = [each["num_chs"] for each in getattr(info, "info", info)]
    if not widths or not hasattr(network, "forward_intermediates"):
        raise ValueError(f"`stage` must be None for {model!r}, of which timm takes no feature maps; got {stage}.")
    if not -len(widths) <= stage < len(widths):
        raise ValueError(
            f"`stage` must be from {-len(widths)} to {len(widths) - 1} for {model!r}, whose maps have {widths} "
            f"channels; got {stage}. Try -1, the last."
        )
    index = stage % len(widths)
    prune: Any = network.prune_intermediate_layers
    prune([index], prune_norm=True)
    return index, int(widths[index])


def _load_file(network: nn.Module, path: Path, model: str) -> None:
    """Load the weights of a file, all but those of the classifier."""
    read = import_module("timm.models").load_state_dict
    with reachable("pretrained", str(path)), undamaged("pretrained", path):
        state = read(str(path), device="cpu", weights_only=True)

    names = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
    kept = {name: value for name, value in state.items() if not name.startswith(heads)}
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise ValueError(
            f"`pretrained` must hold the parameters of timm's {model!r}; {str(path)!r} does not: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
