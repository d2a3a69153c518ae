"""Views of a matrix by panels, on numbers that say where they stand."""

import pytest
import torch

from steadydecay.polar.cpu.panel_views import PanelViews


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("side", [1, 2, 5, 6, 7])
def test_panels_and_their_mirror_are_the_matrix(side: int, count: int) -> None:
    matrix = torch.arange(side * side).view(side, side)
    symmetric = torch.minimum(matrix, matrix.t())
    result = torch.full_like(matrix, -1)
    given, views = PanelViews(symmetric, count), PanelViews(result, count)
    assert len(views.panels) <= count
    for panel, of_given in zip(views.panels, given.panels, strict=True):
        panel.copy_(of_given)
    height = -(-side // count)
    is_above = torch.arange(side)[None] // height > torch.arange(side)[:, None] // height
    assert torch.equal(result == -1, is_above)
    views.mirror()
    assert torch.equal(result, symmetric)


@pytest.mark.parametrize("shape", [(7, 9), (6, 3)])
def test_rows_by_columns_are_panels_of_the_product(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    views, wanted = PanelViews(x, 3), PanelViews(x @ x.t(), 3)
    for rows, columns, panel in zip(views.rows, views.columns, wanted.panels, strict=True):
        torch.testing.assert_close(rows @ columns, panel)
