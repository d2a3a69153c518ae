"""Names as the model has them."""

from steadydecay.inspection.plain_names import natural_order, plain_name, plain_names, short_name


def test_prefixes_of_every_wrapper_are_taken_off() -> None:
    for wrapped in ("module.a.weight", "_orig_mod.module.a.weight", "_fsdp_wrapped_module.a.weight"):
        assert plain_name(wrapped) == "a.weight"
    assert plain_name("a._checkpoint_wrapped_module.b._orig_mod.weight") == "a.b.weight"


def test_a_module_that_is_called_module_deeper_down_keeps_its_name() -> None:
    assert plain_name("net.module.weight") == "net.module.weight"
    assert plain_name("x_orig_mod.weight") == "x_orig_mod.weight"


def test_names_that_would_become_one_are_left_as_they_are() -> None:
    assert plain_names(["module.a", "b"]) == {"module.a": "a", "b": "b"}
    assert plain_names(["module.a", "a"]) == {"module.a": "module.a", "a": "a"}


def test_layers_are_ordered_by_number_and_a_bias_follows_its_weight() -> None:
    names = ["l.10.weight", "l.9.bias", "l.9.weight", "²", "l.x"]
    assert sorted(names, key=lambda name: natural_order(short_name(name))) == [
        "l.9.weight",
        "l.9.bias",
        "l.10.weight",
        "l.x",
        "²",
    ]


def test_a_weight_of_no_module_keeps_its_name() -> None:
    assert short_name(".weight") == ".weight"
