"""A model's graph as a picture: text for Graphviz, or an SVG laid out here.

The SVG puts every node on the layer below its lowest operand, and orders each layer by where the
nodes of the layer above stand (the barycentre heuristic, sweeping down and up). Edges that span
several layers pass through a point of their own on each, so that they do not run through boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from autodiffc.graph.dag import Graph
from autodiffc.graph.node import LEAVES, Node

SUFFIXES = (".svg", ".dot")
FILL = {"input": "#cfe8ff", "param": "#ffe2b8", "state": "#e6d6ff", "constant": "#e8e8e8"}
OUTPUT_FILL, PLAIN_FILL = "#c9efc9", "#ffffff"

CHARACTER, BOX_HEIGHT, GAP, LAYER_GAP, MARGIN = 7.0, 40.0, 24.0, 44.0, 20.0
SWEEPS = 8


def draw(graph: Graph, suffix: str, title: str) -> str:
    """The picture as the text of a file with this suffix."""
    return {".svg": to_svg, ".dot": to_dot}[suffix](graph, title)


def label(node: Node) -> tuple[str, str]:
    """Two lines: the name, and what it is."""
    what = node.op if node.op in LEAVES else node.label or node.op
    return node.name or node.op, f"{what} {node.type}"


def _fill(graph: Graph, node: Node) -> str:
    if node in graph.outputs.values():
        return OUTPUT_FILL
    return FILL.get(node.op, PLAIN_FILL)


# --- Graphviz ---


def to_dot(graph: Graph, title: str) -> str:
    number = {node: k for k, node in enumerate(graph.order)}
    lines = [
        f"digraph {_quoted(title)} {{",
        '  node [shape=box, style=filled, fontname="monospace"];',
    ]
    for node, k in number.items():
        text = "\\n".join(_escaped(part) for part in label(node))
        lines.append(f'  n{k} [label="{text}", fillcolor="{_fill(graph, node)}"];')
    for node, k in number.items():
        lines += [f"  n{number[operand]} -> n{k};" for operand in dict.fromkeys(node.inputs)]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# --- Layers ---


@dataclass(eq=False)
class Place:
    """A box, or a point where a long edge passes a layer. `x` and `y` are of its centre."""

    node: Node | None
    layer: int
    width: float
    x: float = 0.0
    y: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)


@dataclass
class Layout:
    """Places by layer, and edges as chains of places from operand to user."""

    layers: list[list[Place]]
    edges: list[list[Place]]

    @property
    def width(self) -> float:
        rows = [row for row in self.layers if row]
        return max((p.x + p.width / 2 for row in rows for p in row), default=0.0) + MARGIN

    @property
    def height(self) -> float:
        return len(self.layers) * (BOX_HEIGHT + LAYER_GAP) - LAYER_GAP + 2 * MARGIN


def lay_out(graph: Graph) -> Layout:
    """Where everything stands; the same graph gives the same picture."""
    depth = _depths(graph)
    layers: list[list[Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    places: dict[Node, Place] = {}
    for node in graph.order:
        width = max(len(line) for line in label(node)) * CHARACTER + 16
        places[node] = Place(node, depth[node], width)
        layers[depth[node]].append(places[node])
    edges = [
        _chain(places[operand], places[node], layers)
        for node in graph.order
        for operand in dict.fromkeys(node.inputs)
    ]
    layout = Layout(layers, edges)
    _order(layout)
    _position(layout)
    return layout


def _depths(graph: Graph) -> Mapping[Node, int]:
    """Computed values below their operands; leaves right above their first user."""
    depth: dict[Node, int] = {}
    for node in graph.order:
        depth[node] = max((depth[i] + 1 for i in node.inputs), default=0)
    for node in graph.order:
        users = graph.users(node)
        if node.op in LEAVES and users:
            depth[node] = min(depth[user] for user in users) - 1
    return depth


def _chain(start: Place, end: Place, layers: list[list[Place]]) -> list[Place]:
    chain = [start]
    for layer in range(start.layer + 1, end.layer):
        point = Place(None, layer, GAP / 2)
        layers[layer].append(point)
        chain.append(point)
    chain.append(end)
    for upper, lower in pairwise(chain):
        upper.below.append(lower)
        lower.above.append(upper)
    return chain


def _order(layout: Layout) -> None:
    for _ in range(SWEEPS):
        for row in layout.layers[1:]:
            _sort(row, lambda place: place.above)
        for row in reversed(layout.layers[:-1]):
            _sort(row, lambda place: place.below)


def _sort(row: list[Place], neighbours: Callable[[Place], list[Place]]) -> None:
    """By the mean position of the neighbours, which `x` holds while ordering goes on."""
    keys = {}
    for k, place in enumerate(row):
        found = neighbours(place)
        keys[place] = sum(p.x for p in found) / len(found) if found else float(k)
    row.sort(key=keys.__getitem__)
    for k, place in enumerate(row):
        place.x = float(k)


def _position(layout: Layout) -> None:
    """Rows side by side with equal gaps, each centred on the widest."""
    widths = [sum(p.width for p in row) + GAP * (len(row) - 1) for row in layout.layers]
    widest = max(widths, default=0.0)
    for k, (row, width) in enumerate(zip(layout.layers, widths, strict=True)):
        x = MARGIN + (widest - width) / 2
        for place in row:
            place.x = x + place.width / 2
            place.y = MARGIN + k * (BOX_HEIGHT + LAYER_GAP) + BOX_HEIGHT / 2
            x += place.width + GAP


# --- SVG ---


def to_svg(graph: Graph, title: str) -> str:
    layout = lay_out(graph)
    size = f"{layout.width:.0f} {layout.height:.0f}"
    width, height = size.split()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {size}" font-family="monospace" font-size="11">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    parts += [_edge(chain) for chain in layout.edges]
    parts += [_box(graph, p, p.node) for row in layout.layers for p in row if p.node is not None]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _edge(chain: list[Place]) -> str:
    """A smooth line from the bottom of one box to the top of another."""
    x, y = chain[0].x, chain[0].y + BOX_HEIGHT / 2
    path = f"M{x:.1f} {y:.1f}"
    for place in chain[1:]:
        top = place.y - BOX_HEIGHT / 2
        middle = (y + top) / 2
        path += f" C{x:.1f} {middle:.1f} {place.x:.1f} {middle:.1f} {place.x:.1f} {top:.1f}"
        x, y = place.x, top
        if place.node is None:
            y = place.y + BOX_HEIGHT / 2
            path += f" V{y:.1f}"
    return f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)"/>'


def _box(graph: Graph, place: Place, node: Node) -> str:
    left, top = place.x - place.width / 2, place.y - BOX_HEIGHT / 2
    name, what = (escape(line) for line in label(node))
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{BOX_HEIGHT:.0f}" '
        f'rx="5" fill="{_fill(graph, node)}" stroke="#333"/>'
        f'<text x="{place.x:.1f}" y="{place.y - 4:.1f}" text-anchor="middle" '
        f'font-weight="bold">{name}</text>'
        f'<text x="{place.x:.1f}" y="{place.y + 11:.1f}" text-anchor="middle">{what}</text>'
    )
