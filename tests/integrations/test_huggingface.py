"""A real transformers.Trainer: the correction follows its schedule, is logged, resumes exactly and goes away."""

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

import steadydecay as sd
from steadydecay.integrations.huggingface import SteadyDecayCallback, unclipping
from steadydecay.known_optimizers.wrappers import unwrapped

STEPS, LR, WEIGHT_DECAY = 8, 1e-2, 0.5
ROLES = {"hidden", "output", "embedding", "vector"}


def tiny_llama(tied: bool = False) -> LlamaForCausalLM:
    set_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def examples() -> Any:
    tokens = torch.randint(0, 64, (64, 8), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in tokens]


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": LR,
        "weight_decay": WEIGHT_DECAY,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 2,
        "logging_steps": 1,
        "save_steps": 5,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return TrainingArguments(str(folder), **(settings | changes))


class Record(TrainerCallback):
    """lr and weight_decay of each group after each step, where the lr is still that of the step."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[float, float]]] = []

    def on_optimizer_step(self, *positional: Any, optimizer: Any = None, **kwargs: Any) -> None:
        self.steps.append([(group["lr"], group["weight_decay"]) for group in optimizer.param_groups])


def role_groups(model: LlamaForCausalLM, lr: float = LR, weight_decay: float = WEIGHT_DECAY) -> list[dict[str, Any]]:
    return sd.param_groups(model, "adamw", lr=lr, weight_decay=weight_decay)


def trainer_with_roles(folder: Path, callback: SteadyDecayCallback, **changes: Any) -> tuple[Trainer, Record]:
    model, record = tiny_llama(), Record()
    optimizer = torch.optim.AdamW(role_groups(model))
    trainer = Trainer(
        model, arguments(folder, **changes), train_dataset=examples(), optimizers=(optimizer, None), callbacks=[record]
    )
    callback.add_to(trainer)
    return trainer, record


def optimizer_of(trainer: Trainer) -> torch.optim.Optimizer:
    assert isinstance(trainer.optimizer, torch.optim.Optimizer)
    return trainer.optimizer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    assert trainer.model is not None
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def assert_same_weights(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_the_decay_follows_the_schedule_of_the_trainer_and_the_output_keeps_its_own(tmp_path: Path) -> None:
    trainer, record = trainer_with_roles(tmp_path, SteadyDecayCallback(), save_strategy="no")
    trainer.train()
    roles = [group["role"] for group in optimizer_of(trainer).param_groups]
    assert set(roles) == ROLES and len(record.steps) == STEPS
    lrs = {step[0][0] for step in record.steps}
    assert len(lrs) > 5 and LR in lrs, "the schedule moves and reaches its peak"
    constant = {"output": WEIGHT_DECAY, "vector": 0.0}
    for step in record.steps:
        for role, (lr, weight_decay) in zip(roles, step, strict=True):
            assert weight_decay == pytest.approx(constant.get(role, WEIGHT_DECAY * lr / LR), rel=1e-12)


def test_the_correction_is_removed_when_training_ends(tmp_path: Path) -> None:
    trainer, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(), save_strategy="no")
    trainer.train()
    for group in optimizer_of(trainer).param_groups:
        assert group["weight_decay"] == (0.0 if group["role"] == "vector" else WEIGHT_DECAY)
        assert "reference_weight_decay" not in group
    sd.correct_weight_decay(optimizer_of(trainer)).remove()


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2}], ids=["plain", "accumulation"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    whole, whole_record = trainer_with_roles(tmp_path, SteadyDecayCallback(), **changes)
    whole.train()
    resumed, resumed_record = trainer_with_roles(tmp_path, SteadyDecayCallback(), **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert resumed_record.steps == whole_record.steps[5:]
    assert_same_weights(weights(resumed), weights(whole))


def test_a_checkpoint_brings_its_references_to_an_optimizer_with_other_numbers(tmp_path: Path) -> None:
    whole, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(reference_lr=2 * LR))
    whole.train()
    model = tiny_llama()
    optimizer = torch.optim.AdamW(role_groups(model, lr=0.3, weight_decay=0.01))
    resumed = Trainer(model, arguments(tmp_path), train_dataset=examples(), optimizers=(optimizer, None))
    SteadyDecayCallback().add_to(resumed)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert_same_weights(weights(resumed), weights(whole))


def test_a_wrong_resume_would_be_seen(tmp_path: Path) -> None:
    whole, _ = trainer_with_roles(tmp_path, SteadyDecayCallback())
    whole.train()
    resumed, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(rule=None))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    hidden = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights(resumed)[hidden], weights(whole)[hidden])


def test_training_goes_on_after_an_interruption_in_the_same_process(tmp_path: Path) -> None:
    class Interruption(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 6:
                raise KeyboardInterrupt

    whole, _ = trainer_with_roles(tmp_path / "whole", SteadyDecayCallback())
    whole.train()
    trainer, _ = trainer_with_roles(tmp_path / "cut", SteadyDecayCallback())
    trainer.add_callback(Interruption())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.remove_callback(Interruption)
    trainer.train(resume_from_checkpoint=True)
    assert_same_weights(weights(trainer), weights(whole))


def test_norms_are_in_the_log_of_every_reporter_and_gradients_are_unclipped(tmp_path: Path) -> None:
    class Reporter(TrainerCallback):
        def __init__(self) -> None:
            self.logs: list[dict[str, float]] = []

        def on_log(self, *positional: Any, logs: Any = None, **kwargs: Any) -> None:
            self.logs.append(dict(logs))

    reporter = Reporter()
    trainer, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(), save_strategy="no", max_grad_norm=0.01)
    trainer.add_callback(reporter)
    trainer.train()
    reported = [log for log in reporter.logs if "loss" in log]
    history = [log for log in trainer.state.log_history if "loss" in log]
    assert len(reported) == len(history) == STEPS
    keys = {f"{measure}/{role}" for measure in ("weight_norm", "gradient_norm") for role in ROLES}
    for log, entry in zip(reported, history, strict=True):
        assert {key for key in log if "_norm/" in key} == keys
        assert all(log[key] == entry[key] and isinstance(log[key], float) for key in keys)
        assert log["grad_norm"] > 0.1, "far above what it is clipped to"
        whole = math.hypot(*(log[f"gradient_norm/{role}"] for role in ROLES))
        assert whole == pytest.approx(log["grad_norm"], rel=1e-5)
    of_hidden = [p for name, p in weights(trainer).items() if "proj" in name]
    assert reported[-1]["weight_norm/hidden"] == pytest.approx(float(torch.nn.utils.get_total_norm(of_hidden)))
    assert not [key for key in trainer.state.log_history[-1] if "_norm/" in key], "the summary has no norms"


def test_without_norms_the_log_is_as_it_was(tmp_path: Path) -> None:
    trainer, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(log_norms=False), save_strategy="no")
    trainer.train()
    assert not [key for log in trainer.state.log_history for key in log if "_norm/" in key]


def watched(trainer: Trainer) -> dict[float, dict[str, float]]:
    """By step, what the log has of the monitor."""
    measures = ("layer/", "group/")
    entries = {
        log["step"]: {key: value for key, value in log.items() if key.startswith(measures)}
        for log in trainer.state.log_history
        if "loss" in log
    }
    return {step: entry for step, entry in entries.items() if entry}


def test_the_monitor_is_in_the_log_and_resumes_with_the_checkpoint(tmp_path: Path) -> None:
    whole, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(watch_every=2))
    whole.train()
    assert list(watched(whole)) == [2, 4, 6, 8]
    last, name = watched(whole)[8], "model.layers.0.mlp.up_proj.weight"
    assert last[f"layer/{name}/weight_norm"] == pytest.approx(weights(whole)[name].norm().item(), rel=1e-5)
    assert last["group/hidden/time_constants"] > watched(whole)[6]["group/hidden/time_constants"]
    resumed, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(watch_every=2))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert {step: watched(resumed)[step] for step in (6, 8)} == {step: watched(whole)[step] for step in (6, 8)}


def test_the_monitor_waits_for_the_next_log(tmp_path: Path) -> None:
    trainer, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(watch_every=2), save_strategy="no", logging_steps=3)
    trainer.train()
    assert list(watched(trainer)) == [3, 6]
    assert unwrapped(optimizer_of(trainer))._optimizer_step_post_hooks == {}, "taken off"


def test_as_a_plain_callback_it_corrects_and_says_that_reporters_get_no_norms(tmp_path: Path) -> None:
    model, record = tiny_llama(), Record()
    trainer = Trainer(
        model,
        arguments(tmp_path, save_strategy="no", max_steps=4),
        train_dataset=examples(),
        optimizers=(torch.optim.AdamW(role_groups(model)), None),
        callbacks=[record, SteadyDecayCallback()],
    )
    # As if a reporter were installed.
    trainer.args.report_to = ["tensorboard"]
    with pytest.warns(UserWarning, match=r"too late for tensorboard.*add_to\(trainer\)"):
        trainer.train()
    assert "weight_norm/hidden" in trainer.state.log_history[0]
    assert record.steps[0][0][1] == 0.0, "in the first step of a warm-up the lr is 0, and so is the decay"


@pytest.mark.parametrize(("tied", "name"), [(False, "lm_head.weight"), (True, "model.embed_tokens.weight")])
def test_of_the_trainers_own_groups_a_warning_names_the_output_layer(tmp_path: Path, tied: bool, name: str) -> None:
    record = Record()
    trainer = Trainer(
        tiny_llama(tied), arguments(tmp_path, save_strategy="no"), train_dataset=examples(), callbacks=[record]
    )
    SteadyDecayCallback().add_to(trainer)
    with pytest.warns(UserWarning, match=rf"group 0 mixes the output layer \({name}\).*param_groups") as warned:
        trainer.train()
    assert len([warning for warning in warned if "output layer" in str(warning.message)]) == 1
    for step in record.steps:
        assert step[0][1] == pytest.approx(WEIGHT_DECAY * step[0][0] / LR, rel=1e-12)
        assert step[1][1] == 0.0
    assert "weight_norm/group_0" in trainer.state.log_history[0]


def test_groups_go_through_optimizer_cls_and_kwargs_too(tmp_path: Path) -> None:
    model, record = tiny_llama(), Record()
    trainer = Trainer(
        model,
        arguments(tmp_path, save_strategy="no"),
        train_dataset=examples(),
        optimizer_cls_and_kwargs=(torch.optim.AdamW, {"params": role_groups(model)}),
        callbacks=[record],
    )
    SteadyDecayCallback(where="hidden").add_to(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trainer.train()
    roles = [group["role"] for group in optimizer_of(trainer).param_groups]
    last = dict(zip(roles, record.steps[-1], strict=True))
    assert last["hidden"][1] == pytest.approx(WEIGHT_DECAY * last["hidden"][0] / LR)
    assert last["embedding"][1] == WEIGHT_DECAY


@pytest.mark.parametrize("optimizer_class", [sd.AdamC, sd.ScionC], ids=["AdamC", "ScionC"])
def test_an_optimizer_of_this_package_needs_no_correction_and_resumes_exactly(
    tmp_path: Path, optimizer_class: Any
) -> None:
    def built() -> Trainer:
        model = tiny_llama()
        kind = "adamc" if optimizer_class is sd.AdamC else "scionc"
        optimizer = optimizer_class(sd.param_groups(model, kind, lr=LR, weight_decay=WEIGHT_DECAY), lr=LR)
        trainer = Trainer(model, arguments(tmp_path), train_dataset=examples(), optimizers=(optimizer, None))
        SteadyDecayCallback(rule=None).add_to(trainer)
        return trainer

    whole, resumed = built(), built()
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert_same_weights(weights(resumed), weights(whole))
    assert "weight_norm/hidden" in resumed.state.log_history[-2]


def test_errors_come_when_training_begins(tmp_path: Path) -> None:
    trainer, _ = trainer_with_roles(tmp_path, SteadyDecayCallback(rule="squared"))
    with pytest.raises(ValueError, match="rule is 'squared'; it must be one of"):
        trainer.train()


def test_adding_the_callback_twice_leaves_one_in_front(tmp_path: Path) -> None:
    callback = SteadyDecayCallback()
    trainer, _ = trainer_with_roles(tmp_path, callback)
    assert callback.add_to(trainer) is callback
    callbacks = trainer.callback_handler.callbacks
    assert callbacks[0] is callback and callbacks.count(callback) == 1


def test_clipping_is_undone_as_torch_does_it() -> None:
    gradients = [torch.randn(5, 7), torch.randn(11)]
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    total = torch.nn.utils.clip_grad_norm_(parameters, 0.25)
    first = parameters[0].grad
    assert first is not None
    torch.testing.assert_close(first * unclipping(float(total), 0.25), gradients[0])
    assert unclipping(None, 1.0) == unclipping(5.0, None) == 1.0
