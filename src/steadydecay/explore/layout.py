"""Place controls and figures side by side, as many as fit into the window."""

from collections.abc import Iterable

import marimo as mo
import plotly.graph_objects as go

# marimo's figures load MathJax from the network unless they find a script with this address and status, which they then
# take for it. No label needs it (marimo renders equations with its own KaTeX), and the type stops the browser from
# fetching it.
MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax-full@3.2.2/es5/tex-mml-svg.min.js"
HEAD = f"""<script type="text/plain" src="{MATHJAX}" data-status="ready"></script>
<style>
marimo-slider {{ white-space: nowrap; }}
.steadydecay-grid {{ display: grid; gap: .75rem 2rem; }}
.steadydecay-grid > * {{ min-width: 0; }}
.steadydecay-grid figure {{ margin: 0; }}
.steadydecay-grid figcaption {{ font-weight: 600; }}
.steadydecay-grid .katex-display {{ text-align: left; margin: .5rem 0; }}
</style>"""


def controls_grid(controls: mo.ui.dictionary) -> mo.Html:
    """Return the controls, two or more in a row."""
    return _grid((element.text for element in controls.elements.values()), narrowest=140)


def figures_grid(figures: dict[str, go.Figure | str]) -> mo.Html:
    """Return figures or Markdown, each below its caption, one or more in a row."""
    cells = (f"<figure><figcaption>{title}</figcaption>{_html(shown)}</figure>" for title, shown in figures.items())
    return _grid(cells, narrowest=320)


def _html(shown: go.Figure | str) -> str:
    return (mo.md(shown) if isinstance(shown, str) else mo.ui.plotly(shown, config={"displayModeBar": False})).text


def _grid(cells: Iterable[str], narrowest: int) -> mo.Html:
    columns = f"repeat(auto-fit, minmax(min({narrowest}px, 100%), 1fr))"
    return mo.Html(f'<div class="steadydecay-grid" style="grid-template-columns: {columns}">{"".join(cells)}</div>')
