# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_text import WORDS, save_model, save_tokenizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

pytest.importorskip("transformers", reason="the text extra is not installed")

from lightning_monocon import MonoCon
from lightning_monocon.encoders import SentenceTransformersEncoder, TextEncoder, build_encoder, encoder_spec
from lightning_monocon.encoders.text.pooling import in_length_groups, pooled
from lightning_monocon.encoders.text.source import PACKAGED, locate
from lightning_monocon.encoders.text.tokenizer import check_fit, load_tokenizer

TEXTS = ["a man runs", "the dog sleeps outside with a red ball", "cat", "two cat plays with the blue ball"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny", dropout=0.1)


@pytest.fixture(scope="module")
def sentence_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model with every kind of module that is supported."""
    package = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules

    first = modules.Transformer(str(folder))
    steps = [
        modules.Pooling(16, pooling_mode=("cls", "mean")),
        modules.Dense(32, 8, activation_function=nn.Tanh()),
        modules.LayerNorm(8),
        modules.Dropout(0.1),
        modules.Normalize(),
    ]
    target = tmp_path_factory.mktemp("models") / "sentences"
    package.SentenceTransformer(modules=[first, *steps], device="cpu").save(str(target))
    return target


def tokens(folder: Path, texts: list[str] = TEXTS) -> dict[str, Tensor]:
    made = load_tokenizer(str(folder))(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    return dict(made)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_sees_the_mask_alone(pooling: str, side: str, generator: Callable[[int], torch.Generator]) -> None:
    rows = [torch.randn(n, 5, generator=generator(n), dtype=torch.float64) for n in (1, 4, 7)]
    features = torch.full((3, 7, 5), torch.nan if pooling != "mean" else 1e3, dtype=torch.float64)
    mask = torch.zeros(3, 7, dtype=torch.long)
    for i, row in enumerate(rows):
        at = slice(7 - len(row), 7) if side == "left" else slice(0, len(row))
        features[i, at], mask[i, at] = row, 1
    oracle = {"mean": lambda r: r.mean(0), "cls": lambda r: r[0], "last": lambda r: r[-1]}[pooling]
    torch.testing.assert_close(pooled(features, mask, pooling), torch.stack([oracle(row) for row in rows]))  # type: ignore[arg-type]


def test_a_text_without_tokens_is_zero() -> None:
    assert pooled(torch.ones(2, 3, 4), torch.zeros(2, 3), "mean").abs().sum() == 0


def test_pooling_of_half_precision_sums_in_float32() -> None:
    ones = torch.ones(1, 1001, 1, dtype=torch.bfloat16)
    assert pooled(ones, torch.ones(1, 1001), "mean").item() == 1


@pytest.mark.parametrize("groups", [2, 3, 50])
def test_length_groups_change_nothing_but_the_padding(folder: Path, groups: int) -> None:
    encoder = TextEncoder(str(folder)).eval()
    inputs = tokens(folder)
    expected = encoder(inputs)
    torch.testing.assert_close(in_length_groups(inputs, groups, encoder), expected)
    seen: list[int] = []

    def watch(part: Any) -> Tensor:
        seen.append(part["input_ids"].shape[1])
        return torch.zeros(len(part["input_ids"]), 1)

    in_length_groups(inputs, groups, watch)
    assert sorted(seen) == seen
    assert seen[0] < seen[-1] == inputs["input_ids"].shape[1]


def test_left_padding_is_not_cut() -> None:
    inputs = {"attention_mask": torch.tensor([[0, 0, 1], [1, 1, 1]]), "input_ids": torch.tensor([[0, 0, 7], [5, 6, 8]])}
    last = in_length_groups(inputs, 2, lambda part: part["input_ids"][:, -1:])
    assert last.tolist() == [[7], [8]]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_text_encoder_is_rebuilt_without_its_folder(folder: Path, pooling: Any) -> None:
    encoder = TextEncoder(str(folder), pooling, length_groups=2).eval()
    spec = encoder_spec(encoder)
    assert spec is not None
    assert spec["name"] == "text"
    assert str(folder) not in json.dumps(spec)
    again = build_encoder(json.loads(json.dumps(spec))).eval()
    again.load_state_dict(encoder.state_dict())
    inputs = tokens(folder)
    torch.testing.assert_close(again(inputs), encoder(inputs), rtol=0, atol=0)
    assert encoder.out_features == 16


def test_every_weight_gets_a_gradient(folder: Path) -> None:
    """DDP waits for those that get none; BERT's pooler would be one."""
    encoder = TextEncoder(str(folder)).train()
    encoder(tokens(folder)).square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_a_checkpoint_of_a_text_model_is_read_without_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch import Trainer

    model = MonoCon(TextEncoder(str(folder)), warmup_epochs=0)
    batch = (tokens(folder), torch.tensor([0, 1, 0, 1]))
    modes: list[bool] = []
    model.encoder.register_forward_pre_hook(lambda module, _: modes.append(module.transformer.training))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, log_every_n_steps=1, limit_val_batches=0,
    )  # fmt: skip
    loader = DataLoader([batch], batch_size=None)  # type: ignore[var-annotated, arg-type]
    trainer.fit(model, loader, loader)
    assert modes == [True]  # transformers hands models out in eval mode
    trainer.save_checkpoint(tmp_path / "x.ckpt")

    import transformers

    for name in ("AutoModel", "AutoConfig", "AutoTokenizer"):
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", pytest.fail)
    again = MonoCon.load_from_checkpoint(tmp_path / "x.ckpt")
    torch.testing.assert_close(again(batch[0]), model.eval()(batch[0]))


def test_an_encoder_decoder_gives_its_encoder() -> None:
    from transformers import T5Config

    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 30}
    config = json.dumps({**T5Config().to_dict(), **sizes, "num_decoder_layers": 1})
    encoder = TextEncoder(config=config)
    inputs = {"input_ids": torch.tensor([[3, 4, 5]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    assert encoder(inputs).shape == (1, 8)
    again = TextEncoder(**encoder.spec())  # type: ignore[arg-type]
    again.load_state_dict(encoder.state_dict())


def test_a_stored_architecture_names_no_code_and_no_machine(folder: Path) -> None:
    encoder = TextEncoder(str(folder))
    stored = json.loads(str(encoder.spec()["config"]))
    planted = {**stored, "auto_map": {"AutoModel": "evil.py--Model"}, "attn_implementation": "kernels-org/evil"}
    again = TextEncoder(config=json.dumps(planted))
    assert "auto_map" not in str(again.spec())
    assert again.transformer.config._attn_implementation != "kernels-org/evil"  # type: ignore[union-attr]


def test_sentence_transformers_as_shipped(sentence_folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformersEncoder(str(sentence_folder), length_groups=2).eval()
    expected = SentenceTransformer(str(sentence_folder), device="cpu").encode(TEXTS, convert_to_tensor=True)
    inputs = tokens(sentence_folder)
    torch.testing.assert_close(encoder(inputs), expected)
    assert encoder.out_features == 8
    again = build_encoder(json.loads(json.dumps(encoder_spec(encoder)))).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(inputs), expected)
    encoder.train()(inputs).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_the_packaged_model_is_the_real_one() -> None:
    pytest.importorskip("sentence_transformers")
    try:
        source, local = locate(PACKAGED)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert local
    from sentence_transformers import SentenceTransformer

    sentences = ["guitar", "instrument", "stocks"]
    inputs = dict(load_tokenizer(PACKAGED)(sentences, padding=True, truncation=True, max_length=8, return_tensors="pt"))
    features = SentenceTransformersEncoder(PACKAGED).eval()(inputs)
    expected = SentenceTransformer(source, device="cpu", local_files_only=True).encode(
        sentences, convert_to_tensor=True
    )
    torch.testing.assert_close(features, expected)
    assert features[0] @ features[1] > 0.6
    assert features[0] @ features[2] < 0.3
    mean = TextEncoder(source).eval()(inputs)
    torch.testing.assert_close(nn.functional.normalize(mean), features)


def test_a_missing_hub_is_one_sentence() -> None:
    for make in (TextEncoder, SentenceTransformersEncoder):
        with pytest.raises(RuntimeError, match=r"`model` must be a local file or folder.*'some/model'.*give its path"):
            make("some/model")
    with pytest.raises(RuntimeError, match=r"`tokenizer` must be a local file or folder.*give its path"):
        load_tokenizer("some/model")


def test_a_tokenizer_that_does_not_fit(folder: Path, tmp_path: Path) -> None:
    encoder = TextEncoder(str(folder))
    fits = load_tokenizer(str(folder))
    check_fit(fits, "tiny", 32, encoder)
    check_fit(fits, "tiny", 999, nn.Linear(1, 1))  # does not say what it reads
    with pytest.raises(ValueError, match=r"`max_length` must not exceed the encoder's 32 positions, got 33"):
        check_fit(fits, "tiny", 33, encoder)
    larger = load_tokenizer(str(save_tokenizer(tmp_path, [*WORDS, "zebra"])))
    sentence = r"which has embeddings for 25 tokens; 'larger' numbers its tokens up to 25"
    with pytest.raises(ValueError, match=sentence):
        check_fit(larger, "larger", 8, encoder)


def test_a_tokenizer_without_padding(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"`tokenizer` must have a padding token .* has none"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "`model` or `config` must be given, and not both"),
        ({"model": "m", "config": "{}"}, "`model` or `config` must be given, and not both"),
        ({"model": "m", "pooling": "max"}, r"`pooling` must be one of 'mean', 'cls', 'last'; got 'max'"),
        ({"model": "m", "length_groups": 0}, r"`length_groups` must be at least 1, got 0"),
        ({"config": '{"model_type": "os.system"}'}, r"`config` must be the architecture of a model of transformers"),
        ({"config": "{"}, r"`config` must be the architecture of a model of transformers"),
        ({"config": '{"model_type": "resnet"}'}, r"`model` must be a text model with a hidden_size and a vocab_size"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TextEncoder(**arguments)


@pytest.mark.parametrize("step", [{"type": "WordWeights"}, {"type": "Dense", "activation_function": "os.system"}])
def test_steps_of_a_closed_list(folder: Path, step: dict[str, str]) -> None:
    pytest.importorskip("sentence_transformers")
    config = str(TextEncoder(str(folder)).spec()["config"])
    with pytest.raises(ValueError, match=r"`steps` must be of Pooling, Dense"):
        SentenceTransformersEncoder(config=config, steps=[step])
