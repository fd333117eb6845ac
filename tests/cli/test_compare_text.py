# SPDX-License-Identifier: Apache-2.0
"""A comparison on sentences, from the recipe to the page: a tiny model and a few dozen pairs."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from helpers.sentence_files import write_pairs
from helpers.tiny_text import save_model

from lightning_monocon.cli import main
from lightning_monocon.scorecard import EmbeddingSet

ARMS = ("encoder", "monotonic")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_pairs(folder / "data")
    save_model(folder / "model")
    compare(folder)
    return folder / "out"


def compare(folder: Path, *options: str) -> None:
    root, model, out = (folder / name for name in ("data", "model", "out"))
    words = ["compare", "--config", "snli", "--out", str(out), "--seeds", "0", "--jobs", "1", "--arms", *ARMS]
    words += [f"--data.root={root}", f"--data.tokenizer={model}", f"--model.encoder.init_args.model={model}"]
    words += ["--data.max_length=32", "--data.batch_size=4", "--data.num_workers=0", "--trainer.max_epochs=2"]
    main([*words, *options])


@pytest.fixture(scope="module")
def card(finished: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((finished / "scorecard.json").read_text())
    return content


def test_arms_are_judged_by_retrieval_and_by_both_parts_of_the_scored_pairs(card: dict[str, Any]) -> None:
    cards = [card, *card["others"]]
    assert [one["truth"]["name"] for one in cards] == ["snli-entailed", "stsb-dev", "stsb-test"]
    assert [one["truth"]["measures"][0] for one in cards] == ["ndcg@10", "spearman", "spearman"]
    for one in cards:
        assert [arm["name"] for arm in one["arms"]] == list(ARMS)
        assert all(arm["verdict"]["word"] for arm in one["arms"])
        assert one["byte_winners"] and one["winners"] and one["nulls"]


def test_the_page_and_the_figures_are_those_of_any_comparison(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {"scorecard.html", "scorecard.md", "frontier.png", "storage.png", "spectrum.png"}
    page = (finished / "scorecard.html").read_text()
    assert all(name in page for name in ("snli-entailed", "stsb-dev", "stsb-test"))


def test_one_joint_epoch_is_the_best_one_too(finished: Path, card: dict[str, Any]) -> None:
    """The weights of both checkpoint rules are the same, so they are embedded, and judged, once."""
    assert card["alternative"] is None
    run = finished / "runs" / "monotonic-seed0"
    last, best = (EmbeddingSet.load(run / f"embeddings{stage}.safetensors") for stage in ("", "-best"))
    assert (last.stage, best.stage) == ("last", "best")
    assert last.gallery.equal(best.gallery) and last.sides["stsb-test"].equal(best.sides["stsb-test"])


def test_it_says_that_galleries_are_too_small_for_codes(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss", reason="needs the extra search")
    compare(finished.parent, "--codes", "all")
    needed = "needs galleries of at least 1,024 rows; plain numbers alone stand for the codes of encoder, monotonic."
    assert f"`--codes` all {needed}" in capsys.readouterr().err
