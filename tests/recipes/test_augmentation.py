"""Changes of training images: exact where they can be, random where they must be, the same for the same seed."""

import math

import numpy as np
import pytest
import torch

from steadydecay.recipes.vit.augmentation import RandAugmentMixup, SmallMoves, Unchanged, seed_of, warped


def images(rows: int = 6, channels: int = 3, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, channels, height, width), dtype=np.uint8))


def draws(rows: int, **given: float) -> torch.Tensor:
    names = ("turn", "zoom_x", "zoom_y", "shift_x", "shift_y", "mirror")
    return torch.tensor([[given.get(name, 0.0) for name in names]] * rows)


def test_nothing_moves_without_a_move() -> None:
    x = images()
    torch.testing.assert_close(SmallMoves().moved(x, torch.rand(6, 6)), x / 255, atol=1e-5, rtol=0)
    assert Unchanged()((x, torch.zeros(6)), 0, 0, 1)[0] is x


def test_a_shift_of_whole_pixels_is_exact_and_the_border_goes_on() -> None:
    x = images()
    moved = SmallMoves(shift=1 / 7).moved(x, draws(6, shift_x=1.0))
    expected = torch.cat([x[..., 1:], x[..., -1:]], dim=3) / 255
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)
    moved = SmallMoves(shift=2 / 9).moved(x, draws(6, shift_y=-1.0))
    expected = torch.cat([x[..., :1, :], x[..., :1, :], x[..., :-2, :]], dim=2) / 255
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_a_mirror_is_exact_and_half_of_the_images_are_mirrored() -> None:
    x = images()
    torch.testing.assert_close(SmallMoves(flip=True).moved(x, draws(6, mirror=0.5)), x.flip(3) / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(SmallMoves(flip=True).moved(x, draws(6, mirror=-0.5)), x / 255, atol=1e-5, rtol=0)
    one = images(1, 1, 2, 2)
    moved, _ = SmallMoves(flip=True)((one.repeat(1000, 1, 1, 1), torch.zeros(1000)), 5, 0, 1)
    mirrored = ((moved - one.flip(3) / 255).abs().amax((1, 2, 3)) < 1e-4).double().mean()
    assert 0.45 < mirrored < 0.55


@pytest.mark.parametrize(("height", "width"), [(21, 21), (31, 15)])
def test_a_turn_is_one_of_pixels_whatever_the_sides(height: int, width: int) -> None:
    """A quarter turn of the middle: pixel (row, column) about the centre shows what was at (column, -row)."""
    x = images(2, 1, height, width)
    moved = SmallMoves(turn=90).moved(x, draws(2, turn=1.0))
    middle_row, middle_column = height // 2, width // 2
    for row in range(-5, 6):
        for column in range(-5, 6):
            seen = x[:, :, middle_row + column, middle_column - row] / 255
            torch.testing.assert_close(moved[:, :, middle_row + row, middle_column + column], seen, atol=1e-4, rtol=0)


def test_a_zoom_stretches_each_axis_alone() -> None:
    x = torch.arange(11.0)[None, None, None, :].repeat(1, 1, 11, 1) / 11
    moved = SmallMoves(zoom=1.0).moved(x, draws(1, zoom_x=-1.0, zoom_y=1.0))
    assert moved[0, 0, 5].tolist() == pytest.approx([(5 + (k - 5) / 2) / 11 for k in range(11)], abs=1e-5)


def test_the_same_seed_moves_alike_and_ranks_share_the_draws_of_the_batch() -> None:
    moves, x, labels = SmallMoves(turn=8, zoom=0.1, shift=0.1, flip=True), images(), torch.arange(6)
    whole, kept = moves((x, labels), 9, 0, 1)
    assert kept is labels
    assert torch.equal(whole, moves((x, labels), 9, 0, 1)[0]) and not torch.equal(whole, moves((x, labels), 8, 0, 1)[0])
    shares = [moves((x[3 * rank : 3 * rank + 3], labels), 9, rank, 2)[0] for rank in (0, 1)]
    torch.testing.assert_close(torch.cat(shares), whole)


def test_moves_stay_within_what_they_say() -> None:
    maps = SmallMoves(turn=10, zoom=0.2, shift=0.1)._affine_maps(2 * torch.rand(2000, 6) - 1, 8, 8)
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0]).rad2deg().abs()
    assert 9 < angles.max() <= 10.01
    assert 0.19 < maps[:, :, 2].abs().max() <= 0.2 and 1.15 < maps[:, :, :2].norm(dim=1).max() <= 1.2001


def test_words_say_what_is_done() -> None:
    assert str(SmallMoves(turn=8, zoom=0.08, shift=1 / 16)) == (
        "turned up to 8 degrees, zoomed up to 8%, shifted up to 6.2% of each side, not mirrored"
    )
    assert str(SmallMoves(flip=True)) == "mirrored half of the time"
    assert str(Unchanged()) == "none"
    assert "RandAugment (2, 10), Mixup 0.2" in str(RandAugmentMixup())


def test_the_paper_s_augmentation_follows_its_seed_and_leaves_torch_s_generator_alone() -> None:
    x, labels = images(20, 3, 24, 24), torch.arange(20)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    mixed, first, others, share = RandAugmentMixup()((x, labels), 4, 0, 1)
    assert torch.equal(torch.get_rng_state(), before)
    again = RandAugmentMixup()((x, labels), 4, 0, 1)
    assert all(torch.equal(one, other) for one, other in zip(again, (mixed, first, others, share), strict=True))
    assert not torch.equal(RandAugmentMixup()((x, labels), 5, 0, 1)[0], mixed)
    assert not torch.equal(RandAugmentMixup()((x, labels), 4, 1, 2)[0], mixed)
    assert mixed.shape == x.shape and mixed.min() >= 0 and mixed.max() <= 1 and mixed.isfinite().all()
    assert torch.equal(first, labels) and sorted(others.tolist()) == labels.tolist()
    assert share.shape == (20,) and 0 <= share.min() < 0.2 and 0.8 < share.max() <= 1


def test_mixup_mixes_each_image_with_the_one_whose_label_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kornia.augmentation.auto.RandAugment", lambda *_: lambda part: part)
    # Images of one colour look alike in a mirror.
    x = images(20, 3, 1, 1).repeat(1, 1, 4, 4)
    mixed, first, others, share = RandAugmentMixup()((x, torch.arange(20)), 0, 0, 1)
    weight = share[:, None, None, None]
    torch.testing.assert_close(mixed, (weight * x[first] + (1 - weight) * x[others]) / 255)


def test_seeds_differ_for_every_key() -> None:
    found = {seed_of(seed, step, micro) for seed in range(5) for step in range(50) for micro in range(3)}
    assert len(found) == 750 and all(0 <= one < 2**63 for one in found)
    assert math.log2(max(found)) > 61


def test_warped_takes_bytes_and_floats() -> None:
    x, identity = images(), torch.eye(2, 3).repeat(6, 1, 1)
    torch.testing.assert_close(warped(x, identity), warped(x / 255, identity))
