# SPDX-License-Identifier: Apache-2.0
"""`load`, by the example of docs/text.md as it stands: sentences in, vectors, a scorecard."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers", reason="the text extra is not installed")

from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from lightning_monocon.cli import main
from lightning_monocon.encoders.text.source import PACKAGED, locate

WHO = ("A man", "A woman", "The boy", "My aunt", "Our dog")
WHAT = ("plays the guitar.", "sleeps on the grass.", "reads the news.", "eats an apple.", "climbs a hill.")


def test_the_example_of_the_documentation_embeds_sentences_and_scores_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (root / "docs" / "text.md").read_text(encoding="utf-8").partition("## Your own sentences")[2]
    code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    command, *_ = re.findall(r"^monocon (score .*?) +#", text, re.MULTILINE)
    assert len([line for line in code.splitlines() if line]) <= 5
    corpus, queries = [f"{who} {what}" for who in WHO for what in WHAT], [f"Somebody {what}" for what in WHAT]
    exec(compile(code, "docs/text.md", "exec"), {"corpus": corpus, "queries": queries})

    found = load_file("mine.safetensors")
    plain = SentenceTransformer(locate(PACKAGED)[0], device="cpu", local_files_only=True)
    np.testing.assert_allclose(found["gallery"], plain.encode(corpus), atol=1e-5)
    np.testing.assert_allclose(found["query"], plain.encode(queries), atol=1e-5)
    main([*command.split(), "--dims", "4"])
    assert "measures change, not quality" in " ".join(capsys.readouterr().out.split())
