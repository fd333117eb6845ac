# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import jsonargparse
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lightning_monocon.cli.yaml_files import ConfigError, names_a_model, read_recipe, strict_yaml


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", "has the key 'a' on lines 1 and 3"),
        ("a:\n  b: {c: 1}\n  d: 2\n  b: 3", "has the key 'a.b' on lines 2 and 4"),
        ("a:\n- x: 1\n- x: 1\n  y: 2\n  x: 3", "has the key 'a.1.x' on lines 3 and 5"),
        ('{a: 1, "a": 2}', "has the key 'a' twice on line 1"),
        ('{"a": 1,\n "a": 2}', "has the key 'a' on lines 1 and 2"),  # JSON is YAML
        ("1: a\n0x1: b", "has the key '0x1' on lines 1 and 2"),
        ("true: a\nTrue: b", "has the key 'True' on lines 1 and 2"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  d: 1\n  d: 2", "has the key 'c.d' on lines 4 and 5"),
        ("a: {b: 1", "is not valid YAML: expected ',' or '}', but got '<stream end>' in line 1, column 9"),
        ("a: !!python/name:os.system", "is not valid YAML: could not determine a constructor"),
        ("5", "must hold a recipe, a mapping with keys such as model and data; it holds a value of type int"),
    ],
)
def test_what_cannot_be_a_recipe_is_refused_with_its_name_and_lines(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_recipe(file)
    assert str(refused.value).startswith(f"`--config` '{file}' {sentence}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: {x: 1}\nb: {x: 1}", {"a": {"x": 1}, "b": {"x": 1}}),
        (
            "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}",
            {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}},
        ),  # what merging is for
        ("a: 1e-3\nb: '1e-3'\nc: 2026-11-28", {"a": 0.001, "b": "1e-3", "c": "2026-11-28"}),
        ("1: a\n'1': b", {1: "a", "1": "b"}),
        ("a: {b-c: 1, b_c: 2}", {"a": {"b-c": 1, "b_c": 2}}),  # no options: somebody's own names
        ("a: 0x10", {"a": 16}),
    ],
)
def test_what_is_no_doubled_key(text: str, content: object, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    assert read_recipe(file) == content


def test_an_alias_that_closes_a_circle_ends(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("a: &x\n  b: *x\n")
    content = read_recipe(file)
    assert content["a"]["b"] is content["a"]


@example("0:")
@given(st.text(st.sampled_from("0123456789eE+-._:xXobnulyestruaf~#&*!|>%@`'\"{}[], \n"), max_size=8))
def test_every_text_is_read_back_as_that_text(text: str) -> None:
    with strict_yaml():
        written = jsonargparse.ArgumentParser().dump(jsonargparse.Namespace(), format="yaml")
        assert written == "{}\n"
        from jsonargparse import _loaders_dumpers as kept

        dumped = kept.dumpers["yaml"]({"a": text, "b": [text]})
        assert kept.loaders["yaml"](dumped) == {"a": text, "b": [text]}
        assert yaml.safe_load(dumped) == {"a": text, "b": [text]}


@pytest.mark.parametrize("word", ["0x10", "-0b11", "1:30", "1:30.5"])
def test_a_word_is_no_number_that_only_yaml_sees(word: str) -> None:
    with strict_yaml():
        assert jsonargparse.get_loader("yaml")(word) == word
        assert jsonargparse.get_loader("yaml")(f"[{word}, 2]") == [word, 2]


@pytest.mark.parametrize(
    ("word", "value"), [("16", 16), ("1_000", 1000), ("1e3", 1e3), ("null", None), ("a: 1", {"a": 1})]
)
def test_any_other_word_has_its_value(word: str, value: object) -> None:
    with strict_yaml():
        assert jsonargparse.get_loader("yaml")(word) == value


def test_jsonargparse_is_left_as_it_was() -> None:
    before = jsonargparse.get_loader("yaml")
    with strict_yaml():
        assert jsonargparse.get_loader("yaml") is not before
        assert jsonargparse.get_loader("yaml")("a: 1") == {"a": 1}
    assert jsonargparse.get_loader("yaml") is before
    assert before("a: 1\na: 2") == {"a": 2}


def test_a_recipe_may_name_the_class_of_its_model(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("model: {class_path: mine.Model}")
    assert names_a_model(["fit", "--config", "digits", f"--config={mine}", "--trainer.max_epochs=1"])
    assert not names_a_model(["fit", "--config", "digits"]) and not names_a_model(["fit", "--help"])
