# SPDX-License-Identifier: Apache-2.0
"""The function of docs/spark.md encodes in Spark to the bytes of the codec; needs Java and `pip install pyspark`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.codes.files import save

PAGE = Path(__file__).parents[2] / "docs" / "spark.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Spark's own, of its processes
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark_gives_the_bytes_of_the_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    rows = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
    codec = fit_transform(FittingRows.of(rows), 8)
    save(codec, tmp_path / "out")
    (tmp_path / "rows").mkdir()
    for number, part in enumerate(np.array_split(rows.numpy(), 3)):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 16)
        ids = pa.array(np.flatnonzero((rows[:, None, 0] == torch.from_numpy(part[:, 0])).any(1).numpy()))
        pq.write_table(pa.table({"id": ids, "embedding": vectors}), tmp_path / "rows" / f"{number}.parquet")

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1")
    spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "70").getOrCreate()
    try:
        (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
        for name in ("rows", "out", "codes"):
            example = example.replace(f'"{name}"', repr(str(tmp_path / name)))
        exec(example, {"spark": spark})
    finally:
        spark.stop()

    found = pq.read_table(tmp_path / "codes").sort_by("id")
    column = found["code"].to_pylist()
    codes = np.frombuffer(b"".join(column), np.uint8).reshape(len(column), -1)
    assert found["id"].to_pylist() == list(range(1000))
    np.testing.assert_array_equal(codes, codec.encode(rows.numpy()))
