# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the text extra is not installed")

from lightning_monocon.cli import main
from lightning_monocon.encoders.text.source import PACKAGED, locate
from lightning_monocon.scorecard import read_beir

CORPUS = [{"_id": "d1", "title": "Ants", "text": " They walk."}, {"_id": "02", "title": "", "text": "Bees fly."}]
QUERIES = [{"_id": "q1", "text": "Who walks?", "metadata": {"a": [1]}}, {"_id": "q2", "text": "Who flies?"}]


def written(folder: Path, corpus: list[dict[str, object]] | None = None) -> Path:
    (folder / "qrels").mkdir(parents=True)
    lines = ["".join(json.dumps(row) + "\n" for row in rows) for rows in (corpus or CORPUS, QUERIES)]
    (folder / "corpus.jsonl").write_text(lines[0])
    (folder / "queries.jsonl").write_text(lines[1])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\t02\t1\n")
    return folder


def test_a_folder_is_read_as_it_is(tmp_path: Path) -> None:
    found = read_beir(written(tmp_path / "scifact"))
    assert found.corpus_ids == ("d1", "02")
    assert found.corpus_texts == ("Ants  They walk.", "Bees fly.")
    assert (found.query_ids, found.query_texts) == (("q1", "q2"), ("Who walks?", "Who flies?"))
    assert (found.qrels.query_ids, found.qrels.row_ids) == (("q1", "q2"), ("d1", "02"))


def test_gzipped_documents_without_titles(tmp_path: Path) -> None:
    folder = written(tmp_path, [{"_id": 1, "text": "a"}, {"_id": 2, "text": ""}])
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress((folder / "corpus.jsonl").read_bytes()))
    (folder / "corpus.jsonl").unlink()
    found = read_beir(folder)
    assert (found.corpus_ids, found.corpus_texts) == (("1", "2"), ("a", ""))


def test_ids_of_two_kinds_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, [{"_id": 1, "text": "a"}, {"_id": "1", "text": "b"}])
    with pytest.raises(
        ValueError, match=r"`folder` must .* '_id' of .* has a number .* in row 0 and a text in row 1; wr"
    ):
        read_beir(folder)


def test_a_missing_file_and_a_repeated_id(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`folder` must have every id once; .*corpus.jsonl' has 'd1' twice\. Remove"):
        read_beir(written(tmp_path / "twice", [*CORPUS, CORPUS[0]]))
    folder = written(tmp_path / "short")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"`folder` must be in BEIR's layout, .*short' has no queries\.jsonl\."):
        read_beir(folder)
    with pytest.raises(
        FileNotFoundError, match=r"with qrels/dev\.tsv; .* has none. Name one of its files: .*test\.tsv\."
    ):
        read_beir(written(tmp_path / "split"), split="dev")


def test_the_example_of_the_documentation_embeds_and_scores_a_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentence_transformers", reason="the text extra is not installed")
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "BEIR", [*CORPUS, *({"_id": f"d{row}", "text": f"{row} trees grow."} for row in range(3, 40))])
    text = (root / "docs" / "scorecard.md").read_text(encoding="utf-8").partition("A folder in BEIR's layout")[2]
    code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    command, *_ = re.findall(r"`monocon (score [^`]*)`", text)
    exec(compile(code.replace('"all-MiniLM-L6-v2"', repr(locate(PACKAGED)[0])), "docs/scorecard.md", "exec"), {})
    main([*command.split(), "--dims", "4"])
    said = " ".join(capsys.readouterr().out.split())
    assert "The gallery has 39 rows, and there are 2 queries" in said and "nDCG@10" in said
