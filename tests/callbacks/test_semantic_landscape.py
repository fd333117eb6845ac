# SPDX-License-Identifier: Apache-2.0
"""The landscape callback on a module that is not ours: it watches, and leaves no trace in the run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import networkx as nx
import pytest
import torch
from helpers.plain_runs import four_classes
from helpers.scripts import run_ranks
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_monocon.callbacks import semantic_landscape
from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.landscape import Event
from lightning_monocon.landscape.geometry import probe_geometry
from lightning_monocon.watching import budget
from lightning_monocon.watching.files import read_tracker

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches",
    "ignore:.*does not have many workers",
    "ignore:You defined a `validation_step`",
    "ignore:Checkpoint directory",
    "ignore:Be aware that when using",
    "ignore:.*LeafSpec.*:FutureWarning",
)


class Foreign(L.LightningModule):
    """A classifier with dropout whose steps know nothing of landscapes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3))
        self.out = nn.Linear(32, 4)
        self.seen: list[float] = []

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.out(self.trunk(inputs))
        return result

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.seen.append(loss.item())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-2)


def fit(
    folder: Path, *callbacks: L.Callback, model: Foreign | None = None, ckpt: str | None = None, **options: Any
) -> Foreign:
    L.seed_everything(3, verbose=False)
    module = Foreign() if model is None else model
    trainer = L.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 4, "logger": False, "enable_checkpointing": False, **options},
    )
    trainer.fit(module, four_classes(80, 0, shuffle=True), four_classes(60, 1), ckpt_path=ckpt)
    return module


def watch(**options: Any) -> SemanticLandscape:
    return SemanticLandscape(**{"probe": 40, "signature": "logits", "schedule": 1, "budget": None, **options})


def test_the_geometry_of_a_submodule_changes_nothing_else(tmp_path: Path) -> None:
    plain, of_trunk = watch(geometry_every=1), watch(geometry_every=1, geometry_layer="trunk")
    alone, module = (fit(tmp_path / str(i), callback) for i, callback in enumerate((plain, of_trunk)))
    assert module.seen == alone.seen
    assert plain.tracker is not None
    assert of_trunk.tracker is not None
    found, other = of_trunk.tracker.trajectory.columns(), plain.tracker.trajectory.columns()
    for name in (name for name in found if name.startswith(("credence", "fallibility"))):
        assert found[name].tolist() == other[name].tolist()
    assert of_trunk._probe is not None
    with torch.inference_mode():
        rows = module.eval().trunk(torch.cat(of_trunk._probe.batches))
    assert found["alpha_req"][-1] == pytest.approx(probe_geometry(rows).alpha_req)
    assert found["effective_rank"][-1] > other["effective_rank"][-1]  # 32 features against 4 scores


def test_it_watches_and_writes(tmp_path: Path) -> None:
    callback = watch(groups=True)
    fit(tmp_path, callback, logger=CSVLogger(tmp_path, name="csv"), log_every_n_steps=1)
    assert callback.tracker is not None
    assert callback.tracker.trajectory.steps == list(range(21))
    assert any(event.kind == "emergence" for event in callback.events)
    folder = tmp_path / "landscape"
    lines = (folder / "events.jsonl").read_text().splitlines()
    assert [Event.from_dict(json.loads(line)) for line in lines] == callback.events
    assert read_tracker(tmp_path)[0].events == callback.events
    assert read_tracker(tmp_path)[0].measure == "logits"
    settings = read_tracker(tmp_path)[1]
    assert settings == {"train_size": 80, "batch_size": 16, "optimizer": "Adam", "lr": 3e-2, "weight_decay": 0.0}
    graph = nx.node_link_graph(json.loads((folder / "landscape.json").read_text()), edges="links")
    assert len(graph) == callback.tracker.graph().number_of_nodes()
    rows = (folder / "trajectory.csv").read_text().splitlines()
    assert len(rows) == 22
    assert rows[0].startswith("step,state,credence/train,credence/val,fallibility/train")
    assert (folder / "landscape.png").stat().st_size > 10_000
    logged = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()
    assert "landscape/credence/val" in logged
    assert "landscape/overhead_share" in logged
    assert "kind,group" in (tmp_path / "csv" / "version_0" / "landscape_events.csv").read_text()
    assert (tmp_path / "csv" / "version_0" / "figures" / "landscape.png").exists()


def test_what_is_measured_is_told_in_words_by_which_runs_are_kept_apart() -> None:
    assert watch().measure == "logits"
    assert watch(layer="trunk").measure == "logits of trunk"
    assert (
        watch(signature="soft_knn", temperature=0.05, layer="trunk").measure == "soft_knn of trunk at temperature 0.05"
    )


@pytest.mark.filterwarnings("ignore")  # W&B and TensorBoard warn of what is not ours to fix
def test_other_loggers_get_table_and_figure(tmp_path: Path) -> None:
    loggers = [WandbLogger(save_dir=tmp_path, offline=True, project="test"), TensorBoardLogger(tmp_path, name="tb")]
    callback = watch(groups=True)
    fit(tmp_path, callback, logger=loggers, log_every_n_steps=1)
    loggers[0].experiment.finish()
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/landscape/*.table.json")
    rows = json.loads(table.read_text())
    assert rows["columns"][0] == "kind"
    assert [row[0] for row in rows["data"]] == [event.kind for event in callback.events]
    images = list(tmp_path.glob("wandb/offline-run-*/files/media/images/figures/landscape_*.png"))
    assert len(images) == len({event.step_confirmed for event in callback.events if event.kind != "provisional"})
    (written,) = tmp_path.glob("tb/version_0/events.out.*")
    assert b"landscape/events" in written.read_bytes()
    assert b"figures/landscape" in written.read_bytes()


@pytest.mark.parametrize("schedule", [1, "log", "validation"])
def test_the_run_is_the_same_as_without_it(tmp_path: Path, schedule: str | int) -> None:
    alone = fit(tmp_path / "a")
    watched = fit(tmp_path / "b", watch(schedule=schedule, signature="soft_knn", layer="trunk"))
    assert watched.seen == alone.seen
    for left, right in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    # a set order of the data, as `ExactResume` gives it to our own data modules; no dropout, so no random state
    def run(epochs: int, ckpt: str | None, callback: SemanticLandscape) -> None:
        L.seed_everything(3, verbose=False)
        model = Foreign()
        model.trunk[3].p = 0.0  # type: ignore[assignment]
        loader = DataLoader(four_classes(80, 0).dataset, batch_size=16)
        saver = ModelCheckpoint(tmp_path, filename=f"e{epochs}", save_on_train_epoch_end=True)
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=epochs, logger=False, callbacks=[callback, saver], default_root_dir=tmp_path,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, loader, four_classes(60, 1), ckpt_path=ckpt, weights_only=True if ckpt else None)

    whole, first, second = watch(), watch(), watch()
    run(6, None, whole)
    run(3, None, first)
    run(6, str(tmp_path / "e3.ckpt"), second)
    assert second.tracker is not None and whole.tracker is not None
    assert second.events == whole.events
    assert second.tracker.trajectory.steps == whole.tracker.trajectory.steps
    assert second.tracker.trajectory.columns()["credence/val"].tolist() == pytest.approx(
        whole.tracker.trajectory.columns()["credence/val"].tolist()
    )


def test_another_probe_is_refused_on_resume(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="one", save_on_train_epoch_end=True)
    fit(tmp_path, watch(), saver, max_epochs=1, enable_checkpointing=True)
    with pytest.raises(ValueError, match="must come from a tracker with probe"):
        fit(tmp_path, watch(probe=48, on_error="raise"), max_epochs=2, ckpt=str(tmp_path / "one.ckpt"))


def test_a_slow_probe_keeps_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1.0]
    for module in (semantic_landscape, budget):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(Foreign):
        def forward(self, inputs: Tensor) -> Tensor:
            now[0] += 0.005 if self.training else 0.5  # seconds of a step, of one of the probe's two batches
            return super().forward(inputs)

    callback = watch(budget=0.1)
    with pytest.warns(UserWarning, match="budget of 0.1 of the wall time skipped 1999 of 2001 .* Pass budget=None"):
        fit(tmp_path, callback, model=Slow(), max_epochs=400, limit_val_batches=1, num_sanity_val_steps=0)
    assert callback.tracker is not None
    # 2000 steps take 10 s; 1 s is free, a second evaluation never fits into a tenth of 10 + 1 s, and the last is taken
    assert callback.tracker.trajectory.steps == [0, 2000]
    quick = watch(budget=0.5)
    with pytest.warns(UserWarning, match="skipped"):
        fit(tmp_path, quick, model=Slow(), max_epochs=400, limit_val_batches=1, num_sanity_val_steps=0)
    assert quick.tracker is not None
    assert len(quick.tracker.trajectory) in (6, 7)  # n + 1 <= 0.75 (10 + n) / 2, and the last
    assert quick.overhead <= 0.45


def test_a_fast_run_is_seen_and_says_what_the_budget_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 1 ms and evaluations of 20 ms: the share of 2 % alone would allow the first and no other."""
    now = [1.0]
    for module in (semantic_landscape, budget):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Fast(Foreign):
        def forward(self, inputs: Tensor) -> Tensor:
            now[0] += 0.001 if self.training else 0.01
            return super().forward(inputs)

    callback = watch(budget=0.02)
    with pytest.warns(UserWarning, match=r"budget of 0\.02 of the wall time skipped \d+ of 151 evaluations"):
        fit(tmp_path, callback, model=Fast(), max_epochs=30, limit_val_batches=1, num_sanity_val_steps=0)
    assert callback.tracker is not None
    steps = callback.tracker.trajectory.steps
    # each step is due: as 150 is planned, 20 evaluations are spread evenly over its decades
    expected = [0, 1]
    while expected[-1] < 150:
        apart = max((150 / expected[-1]) ** (1 / (20 - len(expected))), budget.FREE_SPACING)
        expected.append(math.ceil(apart * expected[-1] - 1e-9))
    assert steps == expected
    assert callback.skipped + len(steps) == 151
    assert callback.costs.spent < budget.FREE_SECONDS


def test_the_last_step_is_evaluated_and_a_resume_does_not_keep_that(tmp_path: Path) -> None:
    callback = watch(schedule=7)
    fit(tmp_path, callback)
    assert callback.tracker is not None
    assert callback.tracker.trajectory.steps == [0, 7, 14, 20]
    assert callback.state_dict()["tracker"]["trajectory"]["steps"].tolist() == [0, 7, 14]


def test_an_error_stops_the_landscape_and_not_the_run(tmp_path: Path) -> None:
    callback = watch(layer="trunk.0", signature="soft_knn", strata=None, geometry_every=1)

    class Failing(Foreign):
        def forward(self, inputs: Tensor) -> Tensor:
            if not self.training and len(self.seen) > 5:
                raise RuntimeError("lost a cable")
            return super().forward(inputs)

    with pytest.warns(UserWarning, match="stops watching and the run continues: RuntimeError: lost a cable"):
        model = fit(tmp_path, callback, model=Failing(), limit_val_batches=1, num_sanity_val_steps=0)
    assert len(model.seen) == 20
    assert callback.tracker is None
    assert not callback.state_dict()  # a resumed run would have a gap
    kept, _ = read_tracker(tmp_path)
    assert kept.trajectory.steps == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "landscape" / "landscape.png").is_file()
    with pytest.raises(RuntimeError, match="lost a cable"):
        fit(tmp_path, watch(on_error="raise"), model=Failing(), limit_val_batches=1, num_sanity_val_steps=0)


def test_a_run_that_diverges_keeps_its_landscape_and_says_why_it_ends(tmp_path: Path) -> None:
    class Diverging(Foreign):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if len(self.seen) == 8:
                nn.init.constant_(self.out.bias, torch.nan)
            return super().training_step(batch, batch_idx)

    callback = watch(schedule=1)
    with pytest.warns(UserWarning, match="at step 9 the credence of 40 of 40 probes is NaN. Lower the learning rate"):
        model = fit(tmp_path, callback, model=Diverging())
    assert len(model.seen) == 20
    assert read_tracker(tmp_path)[0].trajectory.steps == list(range(9))


def test_two_landscapes_of_a_run_have_folders_metrics_and_states_of_their_own(tmp_path: Path) -> None:
    logger, saver = CSVLogger(tmp_path), ModelCheckpoint(tmp_path, filename="one")
    both = [watch(), watch(signature="soft_knn", layer="trunk.0", name="landscape-trunk")]
    fit(tmp_path, *both, saver, logger=logger, enable_checkpointing=True)
    for callback, kind in zip(both, ("logits", "soft_knn of trunk.0 at temperature 0.1"), strict=True):
        kept, _ = read_tracker(tmp_path / callback.name)
        assert kept.measure == kind
        assert callback.tracker is not None
        assert kept.trajectory.steps == callback.tracker.trajectory.steps
        assert (Path(logger.log_dir) / f"{callback.name}_events.csv").is_file()
    header = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"landscape/credence/val", "landscape-trunk/credence/val"} <= set(header)
    states = torch.load(tmp_path / "one.ckpt", weights_only=False)["callbacks"]
    assert both[0].state_key in states and both[1].state_key in states
    assert watch().state_key == both[0].state_key != watch(name="other").state_key  # the strata may be all that differs
    assert "name" not in watch().state_key  # as in checkpoints of earlier releases


def test_two_landscapes_of_one_name_end_the_run_before_its_first_step(tmp_path: Path) -> None:
    module = Foreign()
    with pytest.raises(
        ValueError, match=r"`name` must differ between the landscapes of a run, .*; got 'landscape' twice"
    ):
        fit(tmp_path, watch(), watch(signature="soft_knn", layer="trunk.0"), model=module)
    assert not module.seen


def test_a_run_without_validation_is_told_what_to_pass(tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu", default_root_dir=tmp_path, max_steps=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[watch(on_error="raise")],
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"DataLoader and no validation loader. Pass held-out data with `trainer.fit"):
        trainer.fit(Foreign(), four_classes(80, 0))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": "nope"}, "`layer` must name a submodule of Foreign, such as trunk, out; got 'nope'"),
        ({"geometry_layer": "nope"}, "`geometry_layer` must name a submodule of Foreign, such as trunk, out; got 'no"),
        ({"strata": "nope"}, "`strata` must be an entry of the batch, or .*; got 'nope', and the batch is list"),
        ({"strata": "repetition"}, "`strata` must be an entry of .*; got 'repetition', a rule for sequences, and"),
        ({"roles": {"train": "seen"}}, "`roles` must name strata of the probe: train, val; got 'seen'"),
        ({"labels": "kind"}, "`labels` must be an entry of the batch; got 'kind', and the batch is list"),
    ],
)
def test_what_the_model_and_the_data_lack_ends_the_run_before_its_first_step(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    module = Foreign()
    with pytest.raises(ValueError, match=sentence):
        fit(tmp_path, watch(**options), model=module)
    assert not module.seen


def test_a_probe_larger_than_the_data_is_made_smaller(tmp_path: Path) -> None:
    callback = watch(probe=200)
    with pytest.warns(UserWarning, match="lowered to 120 inputs: half of it, 100, does not fit the 60 inputs of the v"):
        fit(tmp_path, callback)
    assert callback.error is None
    assert callback.tracker is not None
    assert len(callback.tracker.trajectory)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"signature": "argmax"}, "`signature` must be one of 'soft_knn', 'logits'; got 'argmax'"),
        ({"schedule": "daily"}, "`schedule` must be 'log', 'validation' or a positive number of steps; got 'daily'"),
        ({"budget": 2.0}, "`budget` must be a share of wall time between 0 and 1, or None; got 2"),
        ({"roles": {"trian": "train"}}, "`roles` must name train or held_out; got 'trian'"),
        ({"roles": {"train": "a", "held_out": ["a"]}}, "`roles` must give a stratum one role; got 'a' in both"),
        ({"chance": 2.0}, "`chance` must lie between 0 and 1, got 2.0"),
        ({"probe": 0}, "`probe` must be a number of inputs, at least 6, half of them from each set; got 0"),
        ({"temperature": 0.0}, "`temperature` must be above 0, such as that of the loss; got 0.0"),
        ({"geometry_every": 0}, "`geometry_every` must be a number of evaluations, at least 1; got 0"),
        ({"tracker": {"eps": 0.1}}, "`tracker` must hold only eps_in, .*; got 'eps'"),
        ({"tracker": {"eps_in": 0.9}}, "`eps_in` and `eps_out` must satisfy"),
        ({"name": ""}, "`name` must be that of a folder, without slashes; got ''"),
        ({"name": ".."}, "`name` must be that of a folder, without slashes; got '..'"),
        ({"name": "a/b"}, "`name` must be that of a folder, without slashes; got 'a/b'"),
        ({"budget": "2%"}, "`budget` must be a share of wall time between 0 and 1, or None; got '2%'"),
        ({"temperature": "hot"}, "`temperature` must be above 0, such as that of the loss; got 'hot'"),
        ({"seed": 1.5}, "`seed` must be an integer, such as 0; got 1.5"),
        ({"chance": "0.1"}, "`chance` must be a number between 0 and 1, or None; got '0.1'"),
        ({"tracker": [1]}, r"`tracker` must be a mapping of eps_in, .* to numbers; got \[1\]"),
        ({"tracker": {"eps_in": "a"}}, "`tracker` must hold numbers; got eps_in='a'"),
        ({"roles": ["train"]}, r"`roles` must be a mapping from roles to strata, or None; got \['train'\]"),
        ({"roles": {"train": 3}}, "`roles` must give the strata of train as a name or a list of names; got 3"),
        ({"strata": 3}, "`strata` must be the name of a rule, an entry or an attribute, or None; got 3"),
        ({"groups": "no"}, "`groups` must be True or False; got 'no'"),
        ({"labels": ""}, "`labels` must be the name of an entry of the batch, or None; got ''"),
        ({"roles": {"held_out": []}}, r"`roles` must give held_out at least one stratum; got \[\]. Name one, or leave"),
        ({"next_token": "yes"}, "`next_token` must be True, False or None; got 'yes'"),
        ({"on_error": "hide"}, "`on_error` must be one of 'warn', 'raise'; got 'hide'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        watch(**options)


@pytest.mark.slow
def test_under_two_ranks_the_first_alone_probes(tmp_path: Path) -> None:
    run_ranks(Path(__file__).parents[1] / "processes" / "ddp_landscape.py", tmp_path)
    evaluations = [int((tmp_path / f"rank{rank}").read_text()) for rank in range(2)]
    assert evaluations == [13, 0]  # the start and 4 steps a rank in each of 3 epochs
    assert len(read_tracker(tmp_path)[0].trajectory) == 13
