#!/usr/bin/env bash
# Lightning asks for gradients although `configure_optimizers` returned None
#
# Guess: the documentation says that None means a fit without any optimizer, as for a frozen model that is only watched
# by callbacks, so nothing is differentiated: a loss without a gradient is as good as any other.
#
# What happens (Lightning 2.6.6): a stand-in takes the optimizer's place, and it takes a step, around which the loop calls
# `backward` as ever. A loss that depends on no parameter ends the fit with torch's RuntimeError; one that depends on
# some gets gradients that nobody uses, at the price of a backward pass. `global_step` counts such steps. Only None in
# place of the loss, as for a skipped batch, leaves the pass out.
#
# What follows for us: vectors that are computed already, without a head, have nothing to train. `MonoCon` returns no
# loss there; a test fits the recipe `cached_encoder`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 lightning==2.6.6

cd "$folder"
venv/bin/python 2>/dev/null - <<'PYTHON'
import logging
import sys
import warnings
from importlib.metadata import version

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
print("lightning", version("lightning"), "torch", version("torch").split("+")[0])


class Watched(LightningModule):
    def __init__(self, kind):
        super().__init__()
        self.layer, self.kind, self.backwards = torch.nn.Linear(4, 1), kind, 0

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        return {"a loss of frozen weights": loss.detach(), "a loss of weights": loss, "no loss": None}[self.kind]

    def on_before_backward(self, loss):
        self.backwards += 1

    def configure_optimizers(self):
        return None


def fitted(kind):
    model = Watched(kind)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(model, DataLoader(TensorDataset(torch.ones(12, 4)), batch_size=4))
    except RuntimeError as error:
        return f"{model.backwards} backward, RuntimeError: {str(error)[:49]}"
    has = model.layer.weight.grad is not None
    return f"{model.backwards} backward, gradients: {has}, global_step {trainer.global_step}"


expected = {
    "a loss of frozen weights": "1 backward, RuntimeError: element 0 of tensors does not require grad and do",
    "a loss of weights": "3 backward, gradients: True, global_step 3",
    "no loss": "0 backward, gradients: False, global_step 3",
}
found = {kind: fitted(kind) for kind in expected}
for kind, told in found.items():
    print(f"{kind}: {told}")
as_stated = found == expected
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   lightning 2.6.6 torch 2.13.0
#   a loss of frozen weights: 1 backward, RuntimeError: element 0 of tensors does not require grad and do
#   a loss of weights: 3 backward, gradients: True, global_step 3
#   no loss: 0 backward, gradients: False, global_step 3
#   as stated
