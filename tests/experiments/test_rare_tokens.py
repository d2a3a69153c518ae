"""The word model trains, only its embedding decays, and its rows are counted right."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from steadydecay.experiments.adam_steps import AdamSettings, AdamUpdate, adam_l2_step, adam_path, adamw_step
from steadydecay.experiments.rare_tokens import (
    OPTIMIZERS,
    OptimizerName,
    WordModel,
    embedded_words,
    train_embedding,
)

SMALL = WordModel(vocabulary=64, unused=4, context=3, width=4, hidden=8, steps=30, batch=8)
SETTINGS = AdamSettings(lr=1e-2, weight_decay=0.1, beta2=0.95)
WORDS = torch.arange(2000) ** 2 % 60


@pytest.fixture(autouse=True)
def one_thread(one_cpu_thread: None) -> None:
    """Runs are compared bit for bit."""


def test_the_words_are_the_most_frequent_of_the_standard_library() -> None:
    model = WordModel(vocabulary=100, unused=10)
    words = embedded_words(model)
    counts = torch.bincount(words)
    assert len(words) > 1_000_000
    assert len(counts) == 90
    assert counts[1] == counts[1:].max()
    assert counts[1:].tolist() == sorted(counts[1:].tolist(), reverse=True)


def test_both_optimizers_start_alike_and_see_the_same_words() -> None:
    adamw, adam_l2 = (train_embedding(WORDS, SMALL, name, SETTINGS) for name in ("adamw", "adam_l2"))
    assert torch.equal(adamw.start, adam_l2.start)
    assert torch.equal(adamw.steps_seen, adam_l2.steps_seen)
    assert not torch.equal(adamw.norm_share, adam_l2.norm_share)
    assert adamw.norm_share.shape == (31, 64)
    assert (adamw.norm_share[0] == 1).all()


def test_a_run_is_repeatable_and_the_seed_changes_it() -> None:
    first, second = (train_embedding(WORDS, SMALL, "adamw", SETTINGS) for _ in range(2))
    other = train_embedding(WORDS, replace(SMALL, seed=1), "adamw", SETTINGS)
    assert torch.equal(first.norm_share, second.norm_share)
    assert not torch.equal(first.start, other.start)
    assert not torch.equal(first.steps_seen, other.steps_seen)


@pytest.mark.parametrize(("name", "update"), [("adamw", adamw_step), ("adam_l2", adam_l2_step)])
def test_unused_rows_go_the_way_that_theory_says(name: OptimizerName, update: AdamUpdate) -> None:
    run = train_embedding(WORDS, SMALL, name, SETTINGS)
    assert (run.steps_seen[-4:] == 0).all()
    assert (run.steps_seen[:-4] > 0).any()
    for row in range(60, 64):
        paths = [adam_path(update, start, [0.0] * 30, SETTINGS) for start in run.start[row].tolist()]
        norms = torch.tensor(paths).norm(dim=0)
        assert run.norm_share[:, row].tolist() == pytest.approx((norms / norms[0]).tolist(), rel=1e-4, abs=1e-5)


def test_v_without_a_gradient_is_zero_under_adamw_and_that_of_theory_under_l2() -> None:
    adamw, adam_l2 = (train_embedding(WORDS, SMALL, name, SETTINGS) for name in ("adamw", "adam_l2"))
    assert (adamw.mean_second_moment[-4:] == 0).all()
    assert (adamw.mean_second_moment[adamw.steps_seen > 0] > 0).all()
    weights, seconds = adam_l2.start[-1].tolist(), []
    for weight in weights:
        path = adam_path(adam_l2_step, weight, [0.0] * 30, SETTINGS)
        second, total = 0.0, 0.0
        for before in path[:-1]:
            second = 0.95 * second + 0.05 * (0.1 * before) ** 2
            total += second / 30
        seconds.append(total)
    assert adam_l2.mean_second_moment[-1].item() == pytest.approx(sum(seconds) / len(seconds), rel=1e-3)


def test_the_steps_counted_are_those_with_a_gradient() -> None:
    words, model = torch.arange(2000) % 60, replace(SMALL, steps=1, batch=4)
    run = train_embedding(words, model, "adamw", SETTINGS)
    assert run.steps_seen.sum() == 12
    assert torch.equal(run.steps_seen == 1, run.mean_second_moment > 0)


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam_l2", torch.optim.Adam)])
def test_nothing_but_the_embedding_decays(
    name: OptimizerName, kind: type[torch.optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.optim.Optimizer] = []

    def recorded(*arguments: Any, **settings: Any) -> torch.optim.Optimizer:
        made.append(kind(*arguments, **settings))
        return made[-1]

    assert OPTIMIZERS[name] is kind
    monkeypatch.setitem(OPTIMIZERS, name, recorded)
    train_embedding(WORDS, SMALL, name, SETTINGS)
    embedding, others = made[0].param_groups
    assert [tuple(parameter.shape) for parameter in embedding["params"]] == [(64, 4)]
    assert (embedding["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 4
    for group in (embedding, others):
        assert (group["lr"], group["betas"], group["eps"]) == (1e-2, (0.9, 0.95), 1e-8)


def test_the_model_learns() -> None:
    """The next word follows from the last one here."""
    words = torch.arange(3000) % 12
    model = replace(SMALL, steps=300)
    short, long = (train_embedding(words, replace(model, steps=n), "adamw", SETTINGS).loss for n in (10, 300))
    assert long < 0.2 < 2 < short
