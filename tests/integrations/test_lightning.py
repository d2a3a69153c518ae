"""A real Lightning Trainer: the correction follows its schedule, is logged, and resumes exactly."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

import steadydecay as sd
from steadydecay.integrations.lightning import SteadyDecayCallback

STEPS, LR, WEIGHT_DECAY = 8, 1e-2, 0.5
ROLES = {"hidden", "output", "embedding", "vector"}

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


class Module(LightningModule):
    """Bytes to next bytes; AdamW with groups of roles under a cosine schedule."""

    def __init__(self, lr: float = LR, weight_decay: float = WEIGHT_DECAY) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 16)
        self.body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.lm_head = nn.Linear(16, 64)
        self.lr, self.weight_decay = lr, weight_decay

    def training_step(self, batch: Tensor) -> Tensor:
        logits = self.lm_head(self.body(self.embedding(batch[:, :-1])))
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def groups(self) -> Any:
        return sd.param_groups(self, "adamw", lr=self.lr, weight_decay=self.weight_decay)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.groups())
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Record(Callback):
    """lr before and weight_decay after each step, of the groups of the only optimizer."""

    def __init__(self) -> None:
        self.lrs: list[list[float]] = []
        self.weight_decays: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.lrs.append([group["lr"] for group in optimizer.param_groups])

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        self.weight_decays.append([group["weight_decay"] for group in trainer.optimizers[0].param_groups])


def batches() -> DataLoader:
    """Two batches, an epoch: within an epoch Lightning would begin the data anew on resuming."""
    tokens = torch.randint(0, 64, (8, 9), generator=torch.Generator().manual_seed(1))
    return DataLoader(list(tokens), batch_size=4)  # pyright: ignore[reportArgumentType]


def trainer_in(folder: Path, *callbacks: Callback, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "max_steps": STEPS,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        "log_every_n_steps": 1,
    }
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **(settings | changes))


def new_module(**changes: float) -> Module:
    torch.manual_seed(0)
    return Module(**changes)


def assert_same_weights(actual: nn.Module, expected: nn.Module) -> None:
    of_expected = dict(expected.named_parameters())
    assert all(torch.equal(parameter, of_expected[name]) for name, parameter in actual.named_parameters())


def test_the_decay_follows_the_schedule_and_the_output_keeps_its_own(tmp_path: Path) -> None:
    record, callback = Record(), SteadyDecayCallback()
    trainer = trainer_in(tmp_path, callback, record)
    trainer.fit(new_module(), batches())
    groups = trainer.optimizers[0].param_groups
    assert {group["role"] for group in groups} == ROLES and len(record.lrs) == len(record.weight_decays) == STEPS
    assert len({lrs[0] for lrs in record.lrs}) == STEPS
    constant = {"output": WEIGHT_DECAY, "vector": 0.0}
    for lrs, weight_decays in zip(record.lrs, record.weight_decays, strict=True):
        for group, lr, weight_decay in zip(groups, lrs, weight_decays, strict=True):
            assert weight_decay == pytest.approx(constant.get(group["role"], WEIGHT_DECAY * lr / LR), rel=1e-12)
    callback.remove()
    assert {group["weight_decay"] for group in groups} == {0.0, WEIGHT_DECAY}
    sd.correct_weight_decay(trainer.optimizers[0]).remove()


@pytest.mark.parametrize("changes", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulation"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    whole, resumed = new_module(), new_module()
    whole_record, resumed_record = Record(), Record()
    trainer_in(tmp_path, SteadyDecayCallback(), checkpoints, whole_record, **changes).fit(whole, batches())
    trainer = trainer_in(tmp_path, SteadyDecayCallback(), resumed_record, **changes)
    trainer.fit(resumed, batches(), ckpt_path=tmp_path / "step=2.ckpt")
    assert resumed_record.lrs == whole_record.lrs[2:]
    assert resumed_record.weight_decays[-1] == whole_record.weight_decays[-1]
    assert_same_weights(resumed, whole)


def test_a_checkpoint_brings_its_references_to_a_module_with_other_numbers(tmp_path: Path) -> None:
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)
    whole, resumed = new_module(), new_module(lr=0.3, weight_decay=0.01)
    trainer_in(tmp_path, SteadyDecayCallback(reference_lr=2 * LR), checkpoints).fit(whole, batches())
    trainer_in(tmp_path, SteadyDecayCallback()).fit(resumed, batches(), ckpt_path=tmp_path / "step=4.ckpt")
    assert_same_weights(resumed, whole)


def test_a_checkpoint_saved_after_fit_carries_the_references(tmp_path: Path) -> None:
    whole, resumed = Record(), Record()
    trainer_in(tmp_path, SteadyDecayCallback(reference_lr=2 * LR), whole).fit(new_module(), batches())
    first = trainer_in(tmp_path, SteadyDecayCallback(reference_lr=2 * LR), max_steps=4)
    first.fit(new_module(), batches())
    first.save_checkpoint(tmp_path / "saved.ckpt")
    trainer = trainer_in(tmp_path, SteadyDecayCallback(), resumed)
    trainer.fit(new_module(), batches(), ckpt_path=tmp_path / "saved.ckpt")
    # Not the weights: from such a checkpoint Lightning begins with another batch of the epoch.
    assert resumed.lrs == whole.lrs[4:] and resumed.weight_decays == whole.weight_decays[4:]


def test_a_wrong_resume_would_be_seen(tmp_path: Path) -> None:
    whole, resumed = new_module(), new_module()
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)
    trainer_in(tmp_path, SteadyDecayCallback(), checkpoints).fit(whole, batches())
    trainer_in(tmp_path, SteadyDecayCallback(rule=None)).fit(resumed, batches(), ckpt_path=tmp_path / "step=4.ckpt")
    assert not torch.equal(resumed.body.linear1.weight, whole.body.linear1.weight)


def test_one_callback_serves_several_fits(tmp_path: Path) -> None:
    callback = SteadyDecayCallback()
    first, second = new_module(), new_module()
    trainer_in(tmp_path, callback).fit(first, batches())
    trainer_in(tmp_path, callback).fit(second, batches())
    assert_same_weights(second, first)


def test_norms_are_in_the_logger_and_gradients_are_unclipped(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    module = new_module()
    trainer_in(tmp_path, SteadyDecayCallback(), logger=logger, gradient_clip_val=1e-3).fit(module, batches())
    header, *rows = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    columns = header.split(",")
    keys = {f"{measure}/{role}" for measure in ("weight_norm", "gradient_norm") for role in ROLES}
    assert keys <= set(columns) and len(rows) == STEPS
    for row in rows:
        values = dict(zip(columns, row.split(","), strict=True))
        assert math.hypot(*(float(values[f"gradient_norm/{role}"]) for role in ROLES)) > 0.1


class Watched(Callback):
    """What the monitor has logged, by step."""

    def __init__(self) -> None:
        self.logged: dict[int, dict[str, float]] = {}

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        measures = {name: value.item() for name, value in trainer.callback_metrics.items() if "/hidden/" in name}
        self.logged[trainer.global_step] = measures


def test_the_monitor_is_logged_and_resumes_with_the_checkpoint(tmp_path: Path) -> None:
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)
    whole, resumed = Watched(), Watched()
    trainer_in(tmp_path, SteadyDecayCallback(watch_every=3), checkpoints, whole).fit(new_module(), batches())
    seen = [step for step, metrics in whole.logged.items() if "group/hidden/rotation" in metrics]
    assert seen == [3, 4, 5, 6, 7, 8], "Lightning keeps the latest"
    assert whole.logged[3] == whole.logged[5] != whole.logged[6] == whole.logged[8]
    callback = SteadyDecayCallback(watch_every=3)
    trainer = trainer_in(tmp_path, callback, resumed)
    trainer.fit(new_module(), batches(), ckpt_path=tmp_path / "step=4.ckpt")
    assert resumed.logged[6] == whole.logged[6] != {}
    callback.remove()


def test_the_monitor_of_several_optimizers_has_their_index_in_front(tmp_path: Path) -> None:
    from steadydecay.integrations.trainer_watch import TrainerWatch

    weights = [nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    optimizers = [torch.optim.AdamW([weight], lr=LR) for weight in weights]
    watch = TrainerWatch(every=1)
    watch.attach(optimizers)
    weights[1].grad = torch.ones(2, 2)
    optimizers[1].step()
    metrics = watch.new_metrics()
    assert metrics["1/layer/group_0.0/update_norm"] == pytest.approx(2 * LR, rel=1e-4)
    assert all(name.startswith("1/") for name in metrics) and watch.new_metrics() == {}
    watch.attach(optimizers)
    watch.remove()
    optimizers[1].step()
    assert watch.new_metrics() == {}


def test_norms_can_be_left_out(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, SteadyDecayCallback(log_norms=False), max_steps=1)
    trainer.fit(new_module(), batches())
    assert not trainer.callback_metrics


def test_groups_without_roles_are_read_off_the_module(tmp_path: Path) -> None:
    class Plain(Module):
        def groups(self) -> Any:
            return self.parameters()

    record = Record()
    torch.manual_seed(0)
    trainer = trainer_in(tmp_path, SteadyDecayCallback(), record)
    with pytest.warns(UserWarning, match=r"group 0 mixes the output layer \(lm_head.weight"):
        trainer.fit(Plain(), batches())
    assert "weight_norm/group_0" in trainer.callback_metrics


class TwoOptimizers(Module):
    """Hidden weights under one optimizer, the rest under another."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        groups = self.groups()
        of_hidden = [group for group in groups if group["role"] == "hidden"]
        return torch.optim.AdamW(of_hidden), torch.optim.AdamW([group for group in groups if group not in of_hidden])

    def training_step(self, batch: Tensor) -> Any:
        optimizers: Any = self.optimizers()
        self.manual_backward(super().training_step(batch))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = LR / 2
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize(("where", "corrected"), [(None, {"hidden", "embedding"}), ("hidden", {"hidden"})])
def test_several_optimizers_with_manual_steps(tmp_path: Path, where: Any, corrected: set[str]) -> None:
    torch.manual_seed(0)
    trainer = trainer_in(tmp_path, SteadyDecayCallback(where=where), max_steps=2)
    trainer.fit(TwoOptimizers(), batches())
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    halved = {group["role"] for group in groups if group["weight_decay"] == WEIGHT_DECAY / 2}
    assert halved == {role for role in corrected if any(g["role"] == role and g["lr"] == LR / 2 for g in groups)}
    assert {"0/weight_norm/hidden", "1/weight_norm/embedding"} <= trainer.callback_metrics.keys()


def test_a_role_that_no_optimizer_has_is_an_error(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="where has the role 'conv', which no group has"):
        trainer_in(tmp_path, SteadyDecayCallback(where="conv")).fit(TwoOptimizers(), batches())
