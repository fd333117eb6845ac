# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from helpers.plain_runs import clusters, loader, trainer

from lightning_monocon.callbacks import EncoderPretraining
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.module import MonoCon

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


def test_pretraining_is_a_function_of_the_seed_and_leaves_the_random_state_alone() -> None:
    encoders = []
    for _ in range(2):
        torch.manual_seed(1)
        module = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=1)
        before = torch.get_rng_state()
        pretraining = EncoderPretraining(epochs=2, seed=5)
        run = trainer(pretraining, limit_train_batches=0, limit_val_batches=0, max_epochs=2)
        run.fit(module, datamodule=DigitsData(seed=5))
        assert torch.equal(torch.get_rng_state(), before)
        assert not any(parameter.requires_grad for parameter in module.encoder.parameters())  # the warm-up's choice
        encoders.append(module.encoder.state_dict())
    for name, value in encoders[0].items():
        assert torch.equal(encoders[1][name], value)


def test_an_encoder_of_low_precision_is_pretrained_in_it() -> None:
    module = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=0)
    before = module.encoder.state_dict()["stages.0.weight"].clone()
    pretraining = EncoderPretraining(epochs=1, seed=5)
    run = trainer(pretraining, limit_train_batches=0, limit_val_batches=0, max_epochs=1, precision="bf16-true")
    run.fit(module, datamodule=DigitsData(seed=5))
    after = module.encoder.state_dict()["stages.0.weight"]
    assert after.dtype == torch.bfloat16 and not torch.equal(after, before.bfloat16())


def test_pretraining_needs_the_number_of_classes() -> None:
    with pytest.raises(ValueError, match="`datamodule` must have an integer `num_classes` to pretrain on, got None"):
        trainer(EncoderPretraining()).fit(MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=0), loader(clusters(26, 0)))


def test_bad_pretraining() -> None:
    with pytest.raises(ValueError, match=r"`epochs` and `lr` must be positive, got 0 and 0.1"):
        EncoderPretraining(epochs=0, lr=0.1)
