# SPDX-License-Identifier: Apache-2.0
"""Encoders of the real torchvision and timm; skipped where torchvision does not import beside this torch.

Neither is a dependency: the torchvision on PyPI belongs to CUDA builds of torch, and timm imports it.
"""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from lightning_monocon import MonoCon
from lightning_monocon.encoders import TorchvisionEncoder, build_encoder, encoder_spec


@pytest.mark.parametrize(
    ("name", "features"), [("resnet18", 512), ("mobilenet_v3_small", 1024), ("efficientnet_b0", 1280)], ids=str
)
def test_a_model_of_torchvision_loses_its_classifier(name: str, features: int, torchvision: ModuleType) -> None:
    encoder = TorchvisionEncoder(name).eval()
    images = torch.rand(2, 3, 64, 64)
    whole = torchvision.models.get_model(name).eval()
    seen: list[torch.Tensor] = []
    last = [part for part in whole.modules() if isinstance(part, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    kept = {key: value for key, value in whole.state_dict().items() if key in encoder.network.state_dict()}
    encoder.network.load_state_dict(kept)
    whole(images)
    assert encoder.out_features == features
    torch.testing.assert_close(encoder(images), seen[0], rtol=0, atol=0)
    assert encoder_spec(encoder) == {"name": "torchvision", "model": name}
    build_encoder({"name": "torchvision", "model": name}).load_state_dict(encoder.state_dict())


@pytest.mark.usefixtures("torchvision")
def test_what_torchvision_refuses(no_network: None) -> None:
    for name in ("unknown", "fcn_resnet50"):  # the second would download a backbone
        with pytest.raises(ValueError, match=rf"`model` and `weights` must be known to torchvision, got '{name}'"):
            TorchvisionEncoder(name)
    with pytest.raises(ValueError, match=r"`model` and `weights` must be known to torchvision, got 'resnet18' and 'No"):
        TorchvisionEncoder("resnet18", weights="No")
    with pytest.raises(ValueError, match=r"`model` must end in a linear classifier; 'squeezenet1_1' does not"):
        TorchvisionEncoder("squeezenet1_1")
    with pytest.raises(RuntimeError, match=r"`weights` must be a local file .*'DEFAULT'"):
        TorchvisionEncoder("resnet18", weights="DEFAULT")


def test_a_torchvision_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(RuntimeError, match=r"torchvision must be installed in the build for this torch; importing"):
        TorchvisionEncoder("resnet34")


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_model_of_timm_is_an_encoder(name: str) -> None:
    timm = pytest.importorskip("timm")
    options = {"img_size": 32} if name.startswith("vit") else {}
    torch.manual_seed(0)
    encoder = timm.create_model(name, pretrained=False, num_classes=0, **options)
    model = MonoCon(encoder, head="monotonic", in_features=encoder.num_features, warmup_epochs=0)
    images, labels = torch.rand(6, 3, 32, 32), torch.tensor([0, 0, 1, 1, 2, 2])
    assert model(images).shape == (6, encoder.num_features)
    model.loss(model(images), labels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters() if p.requires_grad)
