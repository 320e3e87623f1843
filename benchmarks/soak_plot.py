"""Draws the rows of a soak as one SVG, without a library.

    python benchmarks/soak_plot.py soak.csv soak.svg

Each panel has its own scale, which begins at 0. Neighbouring rows are drawn as one point: its mean, or
for a 99th percentile its median, because a few seconds without a processor would hide all others.
"""

import csv
import statistics
import sys
from pathlib import Path
from xml.sax.saxutils import escape

#: Sizes in pixels.
WIDTH, HEIGHT, LEFT, RIGHT, GAP = 860, 110, 70, 10, 34

#: The most points of a line.
POINTS = 220

COLOURS = "#1f5fbf", "#c2410c", "#15803d", "#7e22ce"

#: A title with the unit, and for each line its name, and how a row gives its value.
PANELS = {
    "memory, MiB": {"resident": lambda row: row["rss_mib"]},
    "descriptors and threads": {
        "descriptors": lambda row: row["descriptors"],
        "threads": lambda row: row["threads"],
    },
    "database, MiB": {
        "file": lambda row: row["database_bytes"] / 2**20,
        "write-ahead log": lambda row: row["wal_bytes"] / 2**20,
    },
    "rows": {
        "grants": lambda row: row["grants"],
        "tokens": lambda row: row["tokens"],
        "sessions": lambda row: row["sessions"],
        "counts of attempts": lambda row: row["failures"],
    },
    "answers in ten seconds": {
        "200 and 303": lambda row: row["status_200"] + row["status_303"],
        "4xx": lambda row: sum(row[name] for name in row if name.startswith("status_4")),
        "5xx": lambda row: sum(row[name] for name in row if name.startswith("status_5")),
        "not sent in time": lambda row: row["skipped"],
    },
    "waits, ms": {
        "API, median": lambda row: row["p50_guard_ms"],
        "API, p99": lambda row: row["p99_guard_ms"],
        "token, median": lambda row: row["p50_token_ms"],
        "token, p99": lambda row: row["p99_token_ms"],
    },
    "processes of the whole machine that want a processor (it has two)": {
        "load": lambda row: row["load"],
    },
}


def points_of(rows, value, middle):
    """At most so many pairs of a time in seconds and a value."""
    size = -(-len(rows) // POINTS)
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        yield some[-1]["seconds"], middle([value(row) for row in some])


def short(value):
    """A number with three digits, or more if it is large."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def panel(title, lines, rows, top):
    """The SVG of one panel, whose upper edge is at ``top``."""
    drawn = {}
    for name, value in lines.items():
        middle = statistics.median if "p99" in name else statistics.fmean
        drawn[name] = list(points_of(rows, value, middle))
    most = max(1e-9, *(value for points in drawn.values() for _, value in points)) * 1.1
    end = rows[-1]["seconds"]
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>'
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT}" class="frame"/>'
    for share in (0, 0.5, 1):
        y = top + HEIGHT * (1 - share)
        yield f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{short(most * share)}</text>'
    x_name = WIDTH - RIGHT
    for colour, (name, points) in reversed(list(zip(COLOURS, drawn.items(), strict=False))):
        wide, high = (WIDTH - LEFT - RIGHT) / end, HEIGHT / most
        places = " ".join(
            f"{LEFT + wide * seconds:.1f},{top + HEIGHT - high * value:.1f}" for seconds, value in points
        )
        yield f'<polyline points="{places}" stroke="{colour}"/>'
        label = escape(name)
        yield f'<text x="{x_name}" y="{top - 8}" text-anchor="end" fill="{colour}">{label}</text>'
        x_name -= 7 * len(name) + 14


def plot(source, target):
    """Draw a CSV file of `soak.py` into an SVG file."""
    with source.open(newline="") as file:
        rows = [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]
    total = len(PANELS) * (HEIGHT + GAP) + 30
    style = "svg{font:12px sans-serif}polyline{fill:none;stroke-width:1.2}.frame{fill:none;stroke:#999}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}">',
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{total}" fill="#fff"/>',
    ]
    for number, (title, lines) in enumerate(PANELS.items()):
        parts += panel(title, lines, rows, GAP + number * (HEIGHT + GAP))
    hours = rows[-1]["seconds"] / 3600
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{total - 10}" text-anchor="end">{hours:.2f} hours</text>'
    )
    target.write_text("\n".join([*parts, "</svg>", ""]))


if __name__ == "__main__":
    plot(Path(sys.argv[1]), Path(sys.argv[2]))
