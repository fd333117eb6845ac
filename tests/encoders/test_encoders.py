# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from lightning_monocon.encoders import SmallCNN, build_encoder, encoder_spec, feature_dim


def test_small_cnn_maps_images_to_features() -> None:
    encoder = SmallCNN(3, (8, 16, 32))
    assert encoder.out_features == feature_dim(encoder) == 32
    assert encoder(torch.rand(5, 3, 16, 12)).shape == (5, 32)


@pytest.mark.parametrize(("pools", "side"), [(None, 8), (0, 16), (2, 4)])
def test_each_pool_halves_the_last_map(pools: int | None, side: int) -> None:
    encoder = SmallCNN(1, (4, 4, 4), pools=pools)
    assert encoder.stages(torch.rand(2, 1, 16, 16)).shape == (2, 4, side, side)
    again = build_encoder(encoder_spec(encoder) or {})
    assert [type(layer) for layer in again.stages] == [type(layer) for layer in encoder.stages]


def test_too_many_pools() -> None:
    with pytest.raises(ValueError, match=r"`pools` must lie between 0 and 1, as .* last of 2 stages; got 2"):
        SmallCNN(1, (4, 8), pools=2)


def test_an_encoder_is_rebuilt_from_its_spec() -> None:
    encoder = SmallCNN(3, (8, 16))
    spec = encoder_spec(encoder)
    assert spec == {"name": "small_cnn", "in_channels": 3, "widths": [8, 16], "pools": 0}
    again = build_encoder(spec)
    again.load_state_dict(encoder.state_dict())


def test_a_module_of_the_users_has_no_spec() -> None:
    class Mine(SmallCNN):
        pass

    assert encoder_spec(nn.Linear(2, 3)) is None
    assert encoder_spec(Mine()) is None  # a subclass may be anything: it is not the registered class


def test_feature_dim_prefers_the_argument() -> None:
    assert feature_dim(nn.Sequential(nn.Linear(2, 3)), 3) == 3
    assert feature_dim(nn.Linear(2, 3)) == 3


def test_unknown_width() -> None:
    sentence = "`in_features` must be the positive width of the encoder's output; Sequential has no integer"
    with pytest.raises(ValueError, match=sentence):
        feature_dim(nn.Sequential(nn.Linear(2, 3)))


def test_unregistered_name() -> None:
    sentence = r"`spec` must name a registered encoder \(small_cnn, modular, .*\), got 'os.system'"
    with pytest.raises(ValueError, match=sentence):
        build_encoder({"name": "os.system", "command": "true"})


def test_bad_widths() -> None:
    with pytest.raises(ValueError, match=r"`in_channels` and `widths` must be positive, got 1 and \(8, 0\)"):
        SmallCNN(1, (8, 0))
