"""Four real processes with weights laid over them in many ways do what one does with whole weights, in float64."""

import json
from typing import Any

import pytest
from layouts import FEW_LAYOUTS, LAYOUTS, OF_ALL_RANKS, RANKS, WITH_REPLICAS
from verbs_on_shards import main

from forked import on_ranks

# Process groups over which parts of weights add up: one for each dimension of the mesh that cuts some.
GROUPS = {"rows": 1, "columns": 1, "hsdp": 1, "tp": 1}
SPOILT = "square.weight"

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """By rank: what each case has found."""
    out = tmp_path_factory.mktemp("shards") / "out.json"
    on_ranks(RANKS, main, out, timeout=300)
    return json.loads(out.read_text())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", ["hyperball", "cautious"])
def test_the_rivals_of_corrected_decay(rule: str, layout: str, found: Found) -> None:
    for of_rank in found:
        of_layout = of_rank["rules"][rule][layout]
        assert of_layout["difference"] < 1e-13
        assert of_layout["collectives"] == [GROUPS.get(layout, 2)] * 3
        for norms, expected in of_layout["norms"]:
            assert norms is expected is None or norms == [_approximately(norm) for norm in expected]


def _approximately(norm: Any) -> Any:
    return None if norm is None else pytest.approx(norm, rel=1e-13)


@pytest.mark.parametrize("layout", [*LAYOUTS, "replicas"])
def test_every_measure(layout: str, found: Found) -> None:
    for of_rank in found:
        difference, where = of_rank["watch"][layout]["worst"]
        assert difference < 2e-5, where
        # torch's sum over ranks may differ between them by a rounding.
        for name, measures in of_rank["watch"][layout]["records"].items():
            assert measures == pytest.approx(found[0]["watch"][layout]["records"][name], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_of_all_groups_take_one_collective_for_each_group_of_ranks(layout: str, found: Found) -> None:
    for of_rank in found:
        assert of_rank["norms"][layout]["difference"] < 1e-14
        assert of_rank["norms"][layout]["collectives"] == [GROUPS.get(layout, 2)] * 2


# Under "tp" no matrix that is cut needs the cold iteration.
@pytest.mark.parametrize("layout", OF_ALL_RANKS)
def test_products_of_cut_matrices_take_one_collective_or_two_where_both_sides_are_cut(
    layout: str, found: Found
) -> None:
    cold, *warm = found[0]["watch"][layout]["collectives"]
    # Under "grid" the halves are summed along one dimension of the mesh, and the images along both.
    of_product = {"rows": 1, "columns": 1, "hsdp": 1, "grid": 3, "columns twice": 2, "tp and fsdp2": 3}
    if layout in of_product:
        assert warm == [3 * of_product[layout]] * 2
    assert 48 <= cold <= 48 * of_product.get(layout, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["AdamC", "AdamC foreach", "RenormalizedAdamW"])
def test_adams(name: str, layout: str, found: Found) -> None:
    """Also with gradients that are sums over ranks still to be taken, and with plain weights beside."""
    for of_rank in found:
        of_layout = of_rank["adams"][name][layout]
        if name == "RenormalizedAdamW":
            # One for each process group and group of weights, the third of which are vectors, cut by rows at most.
            assert max(of_layout["differences"]) < 1e-13
            assert max(of_layout["collectives"]) <= 1 + 3 * GROUPS.get(layout, 2)
        else:
            # One for each mesh, in which the ranks agree on the gradients that there are.
            assert of_layout["differences"] == [0, 0]
            assert of_layout["collectives"] == [2 if layout == "tp and fsdp2" else 1] * 3


@pytest.mark.parametrize("layout", WITH_REPLICAS)
def test_ranks_agree_on_a_gradient_that_one_of_them_lacks(layout: str, found: Found) -> None:
    for of_rank in found:
        assert {name: value for name, value in of_rank["lacking adams"][layout].items() if not value < 1e-13} == {}


def test_adamc_in_low_precision_takes_memory_for_what_is_here(found: Found) -> None:
    for of_rank in found:
        assert of_rank["low precision"]["same"]
        whole, cut = of_rank["low precision"]["peaks"]
        assert cut == pytest.approx(whole, rel=0.01)


@pytest.mark.parametrize("layout", OF_ALL_RANKS)
def test_init_gives_each_part_the_bits_of_one_process(layout: str, found: Found) -> None:
    """Though the generators of the ranks differ, the global one and a given one."""
    assert [of_rank["filled"][layout]["same"] for of_rank in found] == [[True, True]] * RANKS


def test_after_init_each_rank_draws_its_own_numbers(found: Found) -> None:
    assert found[0]["generators"] == [True] * RANKS


def test_what_cannot_be_filled_is_refused_with_its_remedy(found: Found) -> None:
    for of_rank in found:
        assert "'embedding.weight'" in of_rank["refused"]["meta"] and "to_empty" in of_rank["refused"]["meta"]
        assert "steadydecay.init_(groups)" in of_rank["refused"]["a norm alone"]


def test_wrapped_and_sharded_models_have_the_groups_of_bare_ones(found: Found) -> None:
    for of_rank in found:
        assert [name for name, is_same in of_rank["groups"].items() if not is_same] == []
        assert len(of_rank["groups"]) == 12


@pytest.mark.parametrize("layout", OF_ALL_RANKS)
@pytest.mark.parametrize("skip", ["tensor", "step"])
def test_a_nan_on_one_rank_is_skipped_by_all_which_say_so(skip: str, layout: str, found: Found) -> None:
    for of_rank in found:
        of_layout = of_rank["skipping"][skip][layout]
        assert of_layout["skipped"] == {SPOILT: 1}
        left_out = set(of_layout["here"]) if skip == "step" else {SPOILT}
        assert set(of_layout["moved"]) == set(of_layout["here"]) - left_out
        (said,) = of_layout["warnings"]
        assert said == f"the gradient of {SPOILT!r} holds a NaN or an infinity at step 1"


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_the_monitor_of_each_rank_names_the_first_fault(layout: str, found: Found) -> None:
    for of_rank in found:
        fault, (said,) = of_rank["fault"][layout]["fault"], of_rank["fault"][layout]["warnings"]
        assert fault == {"step": 2, "layer": SPOILT, "measure": "gradient_norm", "layers": 1}
        assert said == f"gradient_norm of {SPOILT!r} is not finite"


def test_under_ddp_a_nan_of_one_rank_is_that_of_all(found: Found) -> None:
    for of_rank in found:
        assert of_rank["ddp"]["skipped"] == 1 and of_rank["ddp"]["is_as_before"]
        assert of_rank["ddp"]["weight_norm"] == found[0]["ddp"]["weight_norm"] > 0


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("rule", ["hyperball", "cautious"])
def test_a_gradient_that_one_rank_lacks_keeps_nobody_waiting(rule: str, layout: str, found: Found) -> None:
    norms = [of_rank["lacking"][rule][layout]["norm"] for of_rank in found]
    assert norms == pytest.approx([norms[0]] * RANKS, rel=1e-12)
    if rule == "hyperball":
        assert norms == pytest.approx([of_rank["lacking"][rule][layout]["first"] for of_rank in found], rel=1e-12)
