# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from lightning_monocon.cli import main
from lightning_monocon.cli.compared_arms import parse_arm


@pytest.mark.parametrize(
    "arm",
    ["linear", "linear-0", "linear-x", "encoder-3", "pca", "mlp-reference", "mlp-", "monotonic-squared", "matryoshka-"],
)
def test_unknown_arms(arm: str) -> None:
    heads = "matryoshka, matryoshka-linear, matryoshka-mlp, matryoshka-monotonic, matryoshka-encoder"
    with pytest.raises(ValueError, match=rf"`--arms` must be of encoder, mlp, .*, {heads} \(K: .* got '{arm}'"):
        parse_arm(arm)


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ("encoder", "--model.head none --model.out_features null"),
        ("linear-8", "--model.head linear --model.out_features 8"),
        ("mlp-squared", '--model.head mlp --model.head_options {"init": "squared"}'),
        ("monotonic-lognormal", '--model.head monotonic --model.head_options {"init": "lognormal"}'),
        ("matryoshka", "--model.head linear --model.out_features null --model.nested true"),
        ("matryoshka-monotonic", "--model.head monotonic --model.nested true"),
        ("matryoshka-encoder", "--model.head none --model.out_features null --model.nested true"),
    ],
)
def test_what_each_arm_changes(arm: str, words: str) -> None:
    assert " ".join(parse_arm(arm).words({})) == words


def test_options_of_the_monotonic_head_reach_the_heads_that_have_them() -> None:
    options = {"num_layers": 2, "parametrization": "abs"}
    assert parse_arm("monotonic-identity").words(options)[-1] == (
        '{"num_layers": 2, "parametrization": "abs", "init": "identity"}'
    )
    assert parse_arm("mlp").words(options)[-1] == '{"num_layers": 2}'
    assert parse_arm("linear-4").words(options)[-2:] == ["--model.head_options", "null"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--arms", "mlp", "monotonic"],
            "`--arms` must hold encoder, the baseline of all others; got mlp monotonic. Add it, for example --arms",
        ),
        (
            ["--trainer.max_epochs", "10"],
            "`--trainer.max_epochs` must exceed the 10 warm-up epochs, which come on top of the joint ones; got 10.",
        ),
    ],
)
def test_a_comparison_that_cannot_be_judged_or_trained_is_refused_at_once(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "--config", "digits", *words, "--out", str(tmp_path / "out")])
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
