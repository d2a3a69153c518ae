"""A small word model on real text in which only the embedding decays: what an optimizer does to each row of it."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from steadydecay.experiments.adam_steps import AdamSettings
from steadydecay.recipes.texts import embedded_files

WORD = re.compile(rb"\w+|[^\w\s]|\n")
OTHER_WORDS = 0
OptimizerName = Literal["adamw", "adam_l2"]
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam_l2": torch.optim.Adam}


@final
@dataclass(frozen=True)
class WordModel:
    """The model and its training; all of its numbers.

    Attributes:
        vocabulary: rows of the embedding: one for each of the most frequent words, one for all others, and `unused`.
        unused: last rows, which no word has, as where a vocabulary is padded to a round number.
        context: words from which the next one is guessed.
        width, hidden: of a word's vector, and of the layer after it.
        initial_rms: of the embedding's entries.
        steps, batch: of training, and windows in each step.
        seed: of weights and windows.
    """

    vocabulary: int = 4096
    unused: int = 8
    context: int = 8
    width: int = 32
    hidden: int = 64
    initial_rms: float = 0.1
    steps: int = 500
    batch: int = 64
    seed: int = 0


class EmbeddingRun(NamedTuple):
    """What happened to the embedding (V words, T steps).

    Attributes:
        optimizer, settings: of the run.
        unused: last rows, which never have a gradient.
        start: entries before training, (V, width).
        steps_seen: steps in which a row had a gradient, (V,).
        norm_share: norm of each row after each step over that before training, (T + 1, V).
        mean_second_moment: v averaged over steps and entries of a row, (V,).
        loss: training loss in nats, averaged over the last tenth of the steps.
    """

    optimizer: OptimizerName
    settings: AdamSettings
    unused: int
    start: Tensor
    steps_seen: Tensor
    norm_share: Tensor
    mean_second_moment: Tensor
    loss: float


def embedded_words(model: WordModel) -> Tensor:
    """The standard library's text as word numbers, (N,): 1 is the most frequent word, 0 any outside the vocabulary."""
    words = WORD.findall(b"\n".join(embedded_files().values()))
    frequent = Counter(words).most_common(model.vocabulary - model.unused - 1)
    numbers = {word: number for number, (word, _) in enumerate(frequent, OTHER_WORDS + 1)}
    return torch.tensor([numbers.get(word, OTHER_WORDS) for word in words])


def train_embedding(words: Tensor, model: WordModel, optimizer: OptimizerName, settings: AdamSettings) -> EmbeddingRun:
    """Train from the same start and on the same windows, whatever the optimizer.

    Args:
        words: word numbers below `model.vocabulary`, (N,).
        model: what is trained, and for how long.
        optimizer: "adamw" or "adam_l2", torch's Adam with its `weight_decay`.
        settings: of the optimizer; the decay is that of the embedding, nothing else decays.
    """
    generator = torch.Generator().manual_seed(model.seed)
    embedding, network = _network(model, generator)
    optimizer_of_run = OPTIMIZERS[optimizer](
        [{"params": embedding.parameters()}, {"params": network[1:].parameters(), "weight_decay": 0.0}],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )
    start = embedding.weight.detach().clone()
    norms, losses = [_row_norms(start)], []
    steps_seen, second_moment = torch.zeros(model.vocabulary), torch.zeros(model.vocabulary)
    for _ in range(model.steps):
        windows = _windows(words, model, generator)
        context, target = windows[:, :-1], windows[:, -1]
        loss = nn.functional.cross_entropy(network(context), target)
        optimizer_of_run.zero_grad()
        loss.backward()
        optimizer_of_run.step()
        steps_seen[context.unique()] += 1
        second_moment += optimizer_of_run.state[embedding.weight]["exp_avg_sq"].mean(dim=1) / model.steps
        norms.append(_row_norms(embedding.weight.detach()))
        losses.append(loss.item())
    last = losses[-max(1, model.steps // 10) :]
    return EmbeddingRun(
        optimizer,
        settings,
        model.unused,
        start,
        steps_seen,
        norm_share=torch.stack(norms) / norms[0],
        mean_second_moment=second_moment,
        loss=sum(last) / len(last),
    )


def _network(model: WordModel, generator: torch.Generator) -> tuple[nn.Embedding, nn.Sequential]:
    embedding = nn.Embedding(model.vocabulary, model.width)
    hidden = nn.Linear(model.context * model.width, model.hidden)
    # Not tied to the embedding, so that a word outside the windows has no gradient at all.
    output = nn.Linear(model.hidden, model.vocabulary)
    with torch.no_grad():
        embedding.weight.normal_(0, model.initial_rms, generator=generator)
        for layer in (hidden, output):
            layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
    return embedding, nn.Sequential(embedding, nn.Flatten(), hidden, nn.ReLU(), output)


def _windows(words: Tensor, model: WordModel, generator: torch.Generator) -> Tensor:
    """(batch, context + 1) word numbers from random places."""
    starts = torch.randint(len(words) - model.context, (model.batch, 1), generator=generator)
    return words[starts + torch.arange(model.context + 1)]


def _row_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=1)
