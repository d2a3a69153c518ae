"""One matrix as a factor, an addend and the result of products by panels.

A panel is some rows of a symmetric matrix up to the end of their block on the diagonal. What is left of that block is
mirrored, so that nothing above the diagonal is multiplied but the blocks on it.
"""

from functools import cached_property
from itertools import accumulate
from typing import final

from torch import Tensor


@final
class PanelViews:
    """Made once for a matrix, because each view takes Python as long as a product's call, and lanes share one Python.

    Args:
        matrix: (n, m); panels and what is mirrored are those of (n, n).
        count: of panels, of equal height but for the last; fewer where n is small.

    Attributes:
        matrix: as given.
        rows: of each panel, whole.
    """

    def __init__(self, matrix: Tensor, count: int) -> None:
        self.matrix = matrix
        self._height = -(-len(matrix) // count)
        self.rows = matrix.split(self._height)

    @cached_property
    def panels(self) -> list[Tensor]:
        return [rows.narrow(1, 0, end) for rows, end in zip(self.rows, self._ends, strict=True)]

    @cached_property
    def columns(self) -> list[Tensor]:
        """Of the transposed matrix up to the end of each panel: of a symmetric one they lie side by side."""
        transposed = self.matrix.t()
        return [transposed.narrow(1, 0, end) for end in self._ends]

    def mirror(self) -> None:
        """Copy what lies below the blocks on the diagonal to above them."""
        for below, above in self._mirrored:
            above.copy_(below)

    @cached_property
    def _mirrored(self) -> list[tuple[Tensor, Tensor]]:
        above = self.matrix.t().split(self._height)
        later = zip(self.panels[1:], above[1:], self._ends, strict=False)
        return [(panel.narrow(1, 0, start), columns.narrow(1, 0, start)) for panel, columns, start in later]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self.rows)))
