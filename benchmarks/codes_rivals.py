# SPDX-License-Identifier: Apache-2.0
"""Fit the codes of faiss on the task that `codes_task.py` wrote, once each, and keep what they encode.

    OMP_NUM_THREADS=1 python benchmarks/codes_rivals.py FOLDER RQ48x8 OPQ48,PQ48

The names are those of faiss' index factory; `LSQ48x8` takes a while. Rows are centred first, as our codes do it. Of a
residual quantiser codes are kept twice, from a beam of 8, with which it is fitted, and of 32. What is there already is
left as it is. FOLDER/rivals/NAME.npz gets the decoded gallery and sentences of STS-B with their codes, and the times.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import faiss
import numpy as np

FITTING_BEAM, WIDE_BEAM = 8, 32


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    faiss.omp_set_num_threads(1)
    (folder / "rivals").mkdir(exist_ok=True)
    for name in names:
        beams = (FITTING_BEAM, WIDE_BEAM) if name.startswith("RQ") else (None,)
        wanted = {folder / "rivals" / f"{name}{f'-beam{beam}' if beam else ''}.npz": beam for beam in beams}
        if all(path.is_file() for path in wanted):
            continue
        rows = np.load(folder / "fit.npy")
        mean = rows.mean(0, dtype=np.float64).astype(np.float32)
        index = faiss.index_factory(rows.shape[1], name)
        if name.startswith("RQ"):
            index.rq.max_beam_size = FITTING_BEAM
        start = time.process_time()
        index.train(rows - mean)
        fit = time.process_time() - start
        print(f"{name}: {index.sa_code_size()} bytes, fitted in {fit:.0f} s", flush=True)
        for path, beam in wanted.items():
            if beam:
                index.rq.max_beam_size = beam
            keep(index, folder, mean, fit, path)


def keep(index: faiss.Index, folder: Path, mean: np.ndarray, fit: float, path: Path) -> None:
    """Encode and decode the rows that are judged, and write them to ``path``."""
    kept: dict[str, np.ndarray] = {}
    for name in ("gallery", "stsb_b"):
        rows = np.load(folder / f"{name}.npy") - mean
        start = time.process_time()
        codes = index.sa_encode(rows)
        cost = (time.process_time() - start) / len(rows) * 1e6
        if name == "gallery":
            kept |= {"encode_us": np.array(cost), "fit_s": np.array(fit), "bytes": np.array(index.sa_code_size())}
        kept[name] = index.sa_decode(codes) + mean
    np.savez(path, **kept)  # type: ignore[arg-type]
    print(f"{path.stem}: {kept['encode_us']:.0f} us a vector", flush=True)


if __name__ == "__main__":
    main()
