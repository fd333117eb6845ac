# SPDX-License-Identifier: Apache-2.0
"""Weights travel between a plain encoder and one inside `torch.compile` or a data-parallel class, both ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.encoders import SmallCNN, encoder_spec, feature_dim
from lightning_monocon.encoders.wrapped import named_as, plain_names, unwrap_all, unwrapped

# These fits are tiny and have no validation data, both of which Lightning mentions.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)

Wrap = Callable[[nn.Module], nn.Module]


def compiled(module: nn.Module) -> nn.Module:
    wrapped: nn.Module = torch.compile(module, backend="eager")
    return wrapped


def compiled_inside(module: nn.Module) -> nn.Module:
    """Only a part of it is compiled, as one does for the blocks of a transformer."""
    assert isinstance(module, nn.Sequential)
    module[0] = compiled(module[0])
    return module


def plain(module: nn.Module) -> nn.Module:
    return module


WRAPS = {
    "plain": plain,
    "compiled": compiled,
    "part compiled": compiled_inside,
    "parallel": nn.DataParallel,
    "parallel and compiled": lambda module: nn.DataParallel(compiled(module)),
}


def encoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))


def trainer(epochs: int) -> Trainer:
    return Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip


def loader() -> DataLoader[tuple[Tensor, ...]]:
    inputs = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, torch.arange(32) % 4), batch_size=16)


def saved(model: MonoCon, path: Path, fit: bool = True) -> Path:
    fitted = trainer(1)
    if fit:
        fitted.fit(model, loader())
    else:
        fitted.strategy.connect(model)
    fitted.save_checkpoint(path)
    return path


@pytest.mark.parametrize("written", WRAPS)
def test_a_checkpoint_loads_whatever_the_encoder_is_wrapped_in(written: str, tmp_path: Path) -> None:
    model = MonoCon(WRAPS[written](encoder()), in_features=6, warmup_epochs=0)
    path = saved(model, tmp_path / "x.ckpt")
    inputs = torch.randn(5, 6)
    expected = unwrap_all(model.encoder)(inputs)
    for wrap in WRAPS.values():
        again = MonoCon.load_from_checkpoint(path, encoder=wrap(encoder()))
        torch.testing.assert_close(unwrap_all(again.encoder)(inputs), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("written", "read"), [("compiled", "plain"), ("plain", "part compiled")])
def test_a_run_resumes_whatever_the_encoder_is_wrapped_in(written: str, read: str, tmp_path: Path) -> None:
    path = saved(MonoCon(WRAPS[written](encoder()), in_features=6, warmup_epochs=0), tmp_path / "x.ckpt")
    resumed = MonoCon(WRAPS[read](encoder()), in_features=6, warmup_epochs=0)
    fitted = trainer(2)
    fitted.fit(resumed, loader(), ckpt_path=path)
    assert (fitted.current_epoch, fitted.global_step) == (2, 4)


def test_a_compiled_encoder_of_the_registry_is_described(tmp_path: Path) -> None:
    wrapped = compiled(SmallCNN(widths=(4, 6)))
    assert encoder_spec(wrapped) == {"name": "small_cnn", "in_channels": 1, "widths": [4, 6], "pools": 0}
    assert feature_dim(nn.DataParallel(SmallCNN(widths=(4, 6)))) == 6
    model = MonoCon(wrapped)
    again = MonoCon.load_from_checkpoint(saved(model, tmp_path / "x.ckpt", fit=False))
    assert type(again.encoder) is SmallCNN
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(again.encoder(images), unwrapped(model.eval().encoder)(images), rtol=0, atol=0)


def test_a_compiled_head_of_ones_own_is_the_same_head(tmp_path: Path) -> None:
    path = saved(MonoCon(encoder(), compiled(nn.Linear(6, 3)), warmup_epochs=0), tmp_path / "x.ckpt", fit=False)
    head = nn.Linear(6, 3)
    again = MonoCon.load_from_checkpoint(path, encoder=encoder(), head=head)
    content = torch.load(path, weights_only=True)
    assert content["monocon"]["head"] == {"arm": "torch.nn.modules.linear.Linear"}
    torch.testing.assert_close(again.head.weight, content["state_dict"]["head._orig_mod.weight"])


def test_weights_that_do_not_fit_are_still_refused(tmp_path: Path) -> None:
    path = saved(MonoCon(compiled(encoder()), in_features=6, warmup_epochs=0), tmp_path / "x.ckpt", fit=False)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "encoder.1.weight"'):
        MonoCon.load_from_checkpoint(path, encoder=nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 6)))


class Holds(nn.Module):
    """A module whose own part is called ``module``: a name, not a wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.weight = nn.Linear(2, 2, bias=False), nn.Parameter(torch.zeros(3))


def test_a_part_that_is_called_module_keeps_its_name() -> None:
    own = Holds()
    names = list(own.state_dict())
    assert names == ["weight", "module.weight"]
    assert list(plain_names(own).values()) == names
    assert named_as(own.state_dict(), names).keys() == set(names)
    assert list(named_as({f"_orig_mod.{name}": 0 for name in names}, names)) == names
    assert list(plain_names(compiled(own)).values()) == names
    assert unwrap_all(nn.DataParallel(own)) is own
