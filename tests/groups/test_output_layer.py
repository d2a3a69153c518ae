"""Which layer is the output: models as people write them, with the guesses that are shown."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from steadydecay.groups.roles import found_roles, roles_of


class Model(nn.Module):
    """Modules and parameters by name."""

    def __init__(self, **members: Any) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)


class Attention(nn.Module):
    """As in lectures: a list of heads, none of which is an output."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([Model(key=nn.Linear(8, 4), query=nn.Linear(8, 4)) for _ in range(2)])
        self.proj = nn.Linear(8, 8)


class Encoder(nn.Module):
    """As Hugging Face's, which says that it has no output embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Attention()])
        self.pooler = nn.Linear(8, 8)

    def get_output_embeddings(self) -> None:
        return None


class HeadlessEncoder(Encoder):
    """As Hugging Face's vision towers, whose `head` pools; an encoder is its own base."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 8)

    @property
    def base_model(self) -> nn.Module:
        return self


class EncoderForClasses(HeadlessEncoder):
    """One that is its own base and has a head, as CLIPForImageClassification is."""


class WithClassifiers(nn.Module):
    """As timm's, whose answer may be a module, several, or an Identity for none."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.stem, self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 5), nn.Linear(8, 5)
        self._answer = answer

    def get_classifier(self) -> Any:
        return self._answer(self)


class MyLinear(nn.Module):
    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, columns))


def linear(columns: int, rows: int) -> nn.Linear:
    return nn.Linear(columns, rows)


def mlp(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes)))


def blocks() -> nn.Sequential:
    return nn.Sequential(Attention(), Attention())


CASES: dict[str, tuple[nn.Module, set[str], set[str]]] = {
    # name: (model, outputs, what is guessed)
    "fc before to_logits": (Model(fc=linear(8, 6), to_logits=linear(6, 3)), {"to_logits"}, set()),
    "fc before an unknown name": (Model(fc=linear(8, 6), last=linear(6, 3)), {"last"}, {"last"}),
    "fc before fc2": (Model(fc=linear(8, 6), fc2=linear(6, 3)), {"fc2"}, {"fc2"}),
    "output before final": (Model(output=linear(8, 8), final=linear(8, 3)), {"final"}, {"final"}),
    "score in attention": (Model(score=linear(8, 8), v=linear(8, 8), decoder=linear(8, 3)), {"decoder"}, {"decoder"}),
    "fc though another follows": (Model(fc=linear(8, 3), projector=linear(4, 6)), {"fc"}, {"projector"}),
    "pre_classifier": (Model(pre_classifier=linear(8, 8), classifier=linear(8, 3)), {"classifier"}, set()),
    "a head of several layers": (Model(body=linear(4, 8), head=mlp(8, 8, 5)), {"head.1"}, set()),
    "a dense head before a decoder": (
        Model(head=Model(dense=linear(8, 8)), decoder=linear(8, 3)),
        {"decoder"},
        {"decoder"},
    ),
    "VGG": (Model(features=nn.Conv2d(3, 4, 3), classifier=mlp(8, 16, 16, 5)), {"classifier.2"}, set()),
    "SqueezeNet": (
        Model(stem=nn.Conv2d(3, 4, 3), classifier=nn.Sequential(nn.Conv2d(4, 5, 1))),
        {"classifier.0"},
        set(),
    ),
    "policy and value heads": (
        Model(body=linear(4, 8), policy_head=linear(8, 5), value_head=linear(8, 1)),
        {"policy_head", "value_head"},
        set(),
    ),
    "actor and critic": (
        Model(body=linear(4, 8), actor=linear(8, 5), critic=linear(8, 1)),
        {"actor", "critic"},
        {"actor", "critic"},
    ),
    "scores beside boxes": (
        Model(box_predictor=Model(cls_score=linear(8, 5), bbox_pred=linear(8, 16))),
        {"cls_score", "bbox_pred"},
        {"cls_score", "bbox_pred"},
    ),
    "scores beside boxes below a backbone": (
        Model(body=linear(4, 8), box_predictor=Model(cls_score=linear(8, 5), bbox_pred=linear(8, 16))),
        {"box_predictor.cls_score", "box_predictor.bbox_pred"},
        set(),
    ),
    "a list of heads": (
        Model(body=linear(4, 8), heads=nn.ModuleList([linear(8, 5), mlp(8, 8, 2)])),
        {"heads.0", "heads.1.1"},
        set(),
    ),
    "a table of heads": (
        Model(body=linear(4, 8), heads=nn.ModuleDict({"a": mlp(8, 8, 5), "b": linear(8, 2)})),
        {"heads.a.1", "heads.b"},
        set(),
    ),
    "attention heads": (Model(blocks=blocks(), lm_head=linear(8, 7)), {"lm_head"}, set()),
    "attention heads, no head": (Model(blocks=blocks()), set(), {"blocks.1.proj"}),
    "attention heads in a list": (
        Model(blocks=nn.ModuleList([Attention()]), out=linear(8, 7)),
        {"out"},
        {"out"},
    ),
    "blocks that differ": (nn.Sequential(Model(a=linear(9, 8)), Model(a=linear(8, 3))), {"1.a"}, {"1.a"}),
    "a list of plain layers": (Model(layers=nn.ModuleList([linear(4, 8), linear(8, 3)])), {"layers.1"}, {"layers.1"}),
    "a convolution last": (Model(time=linear(4, 4), conv_out=nn.Conv2d(4, 3, 1)), {"conv_out"}, set()),
    "a convolution last, without a name": (Model(time=linear(4, 4), rgb=nn.Conv2d(4, 3, 1)), {"rgb"}, {"rgb"}),
    "two encoders": (Model(query=Encoder(), key=Encoder()), set(), {"key.pooler"}),
    "an encoder and a head": (Model(bert=Encoder(), out=linear(8, 3)), {"out"}, {"out"}),
    "an encoder and a usual head": (Model(bert=Encoder(), classifier=linear(8, 3)), {"classifier"}, set()),
    "an encoder whose head pools": (HeadlessEncoder(), set(), {"head"}),
    "a tower whose head pools": (Model(tower=HeadlessEncoder(), score=linear(8, 3)), {"score"}, set()),
    "an encoder for classes": (EncoderForClasses(), {"head"}, set()),
    "a summary": (
        Model(body=linear(4, 8), sequence_summary=Model(summary=linear(8, 3))),
        {"sequence_summary.summary"},
        set(),
    ),
    "classes and boxes of each layer": (
        Model(body=linear(4, 8), class_embed=nn.ModuleList([linear(8, 5), linear(8, 5)]), bbox_embed=mlp(8, 8, 4)),
        {"class_embed.0", "class_embed.1", "bbox_embed.1"},
        set(),
    ),
    "layers of one's own": (Model(body=MyLinear(4, 8), top=MyLinear(8, 3)), {"top"}, {"top"}),
    "a classifier by accessor": (WithClassifiers(lambda model: model.first), {"first"}, {"last"}),
    "two classifiers by accessor": (WithClassifiers(lambda model: (model.first, model.last)), {"first", "last"}, set()),
    "a table of classifiers": (WithClassifiers(lambda model: {"a": model.last}), {"last"}, {"first"}),
    "no classifier by accessor": (WithClassifiers(lambda model: nn.Identity()), set(), set()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_output_and_what_is_guessed(case: str) -> None:
    model, outputs, guessed = CASES[case]
    # A wrapper around one module with children has names of its own, which no rule may see.
    for prefix, wrapped in (
        ("", model),
        ("module.", nn.DataParallel(model)),
        ("net.", Model(net=model, loss=nn.MSELoss())),
    ):
        found = {name.removeprefix(prefix): role for name, role in found_roles(wrapped).items()}
        weights = {name.removesuffix(".weight"): role for name, role in found.items() if name.endswith("weight")}
        inner = {name.removeprefix("box_predictor."): role for name, role in weights.items()}
        weights = inner if case == "scores beside boxes" else weights
        assert {name for name, one in weights.items() if one.role == "output"} == outputs
        assert {name for name, one in weights.items() if one.doubt} == guessed


def test_a_guess_says_why_and_what_to_do() -> None:
    last = found_roles(CASES["fc before fc2"][0])["fc2.weight"]
    assert last == ("output", "because it is the last Linear; pass output=... if that is wrong")
    assert found_roles(CASES["two encoders"][0])["key.pooler.weight"].doubt.startswith(
        "although it is the last Linear, because the model says that it has no output layer"
    )
    assert (
        "because fc counts as the output"
        in found_roles(CASES["fc though another follows"][0])["projector.weight"].doubt
    )


@pytest.mark.parametrize("output", ["fc", False, ["fc2"]])
def test_what_is_said_is_no_guess(output: Any) -> None:
    assert not any(found.doubt for found in found_roles(CASES["fc before fc2"][0], output).values())


def test_the_accessor_of_a_wrapped_model_decides() -> None:
    """A DDP-wrapped model with `get_output_embeddings` lost it, and another Linear became the output."""

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder, self.last = nn.Linear(4, 7), nn.Linear(7, 7)

        def get_output_embeddings(self) -> nn.Module:
            return self.decoder

    bare = {name for name, role in roles_of(Chosen()).items() if role == "output"}
    wrapped = {name for name, role in roles_of(nn.DataParallel(Model(model=Chosen()))).items() if role == "output"}
    assert (bare, wrapped) == ({"decoder.weight"}, {"module.model.decoder.weight"})


def test_an_output_module_of_another_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="output is a Linear that has no parameter of the model"):
        roles_of(linear(4, 3), linear(4, 3))


@pytest.mark.parametrize("output", ["classifier", "module.classifier", "classifier.weight"])
def test_an_output_pattern_may_leave_a_wrapper_out(output: str) -> None:
    model = nn.DataParallel(Model(classifier=linear(8, 3), last=linear(3, 3)))
    assert [name for name, role in roles_of(model, output).items() if role == "output"] == ["module.classifier.weight"]


class Answering(nn.Module):
    """A language model that answers a layer of some size, and may refuse to name its words."""

    def __init__(self, rows: int, has_words: bool) -> None:
        super().__init__()
        self.words, self.dense = nn.Embedding(9, 8), nn.Linear(8, rows)
        self._has_words = has_words

    def get_output_embeddings(self) -> nn.Module:
        return self.dense

    def get_input_embeddings(self) -> nn.Module:
        if not self._has_words:
            raise NotImplementedError
        return self.words


@pytest.mark.parametrize(("rows", "has_words", "is_doubted"), [(9, True, False), (8, True, True), (8, False, False)])
def test_an_answer_that_cannot_write_a_word_is_doubted(rows: int, has_words: bool, is_doubted: bool) -> None:
    found = found_roles(Answering(rows, has_words))["dense.weight"]
    assert (found.role, bool(found.doubt)) == ("output", is_doubted)


def test_a_tie_to_a_table_of_ones_own_is_the_output() -> None:
    table = type("VocabEmbedding", (MyLinear,), {})(8, 9)
    model = Model(table=table, body=linear(8, 8), last=MyLinear(8, 9))
    model.get_submodule("last").weight = table.weight
    assert {name for name, role in roles_of(model).items() if role == "output"} == {"table.weight"}
