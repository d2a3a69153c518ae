"""Draw docs/contributors/architecture.svg: the rooms of the package, each above all that it imports.

python benchmarks/architecture_drawing.py
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, DRAWING = ROOT / "src/steadydecay", ROOT / "docs/contributors/architecture.svg"
WIDTH, ROW, BOX, GAP, MARGIN = 760, 52, 32, 10, 16
BOX_WIDTH = 128


def rooms() -> list[str]:
    return sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file())


def imported_rooms(room: str) -> set[str]:
    """The other rooms that the files of a room import at any place."""
    found: set[str] = set()
    for path in (SOURCE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("steadydecay.")}
    return found & set(rooms()) - {room}


def levels() -> list[list[str]]:
    """Rooms by level, from the ground up: each is one above the highest that it imports."""
    below = {room: imported_rooms(room) for room in rooms()}
    level: dict[str, int] = {}
    while len(level) < len(below):
        ready = [room for room, needs in below.items() if room not in level and needs <= level.keys()]
        if not ready:
            raise SystemExit(f"rooms import each other in a ring: {', '.join(sorted(below.keys() - level.keys()))}")
        level |= {room: 1 + max((level[need] for need in below[room]), default=-1) for room in ready}
    return [[room for room in level if level[room] == height] for height in range(max(level.values()) + 1)]


def drawing() -> str:
    rows = levels()
    height = 2 * MARGIN + len(rows) * ROW
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    font = 'font-family="sans-serif" font-size="12" text-anchor="middle"'
    boxes = [box for index, row in enumerate(rows) for box in _row(row, height - MARGIN - (index + 1) * ROW)]
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join([opening, "<title>Rooms of steadydecay, from the ground up</title>", *boxes, "</svg>", ""])


def _row(row: list[str], top: int) -> list[str]:
    left = (WIDTH - len(row) * (BOX_WIDTH + GAP) + GAP) // 2
    return [_box(room, left + index * (BOX_WIDTH + GAP), top) for index, room in enumerate(row)]


def _box(room: str, left: int, top: int) -> str:
    middle, baseline = left + BOX_WIDTH // 2, top + BOX // 2 + 4
    shape = f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX}" rx="5" fill="#eef0fb" stroke="#3f51b5"/>'
    return f'{shape}<text x="{middle}" y="{baseline}">{room}</text>'


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
    print(f"wrote {DRAWING.relative_to(ROOT)}", file=sys.stderr)
