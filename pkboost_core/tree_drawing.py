"""One tree as plain text, as SVG and in Graphviz's language, without any drawing library."""

from collections.abc import Iterator
from html import escape

import numpy as np

from pkboost_core.columns import Columns
from pkboost_core.ensemble import Ensemble
from pkboost_core.tree_table import column_label, left_levels

_SHOWN_LEVELS = 4
_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y = 180, 46, 12, 44


def tree_text(ensemble: Ensemble, columns: Columns, tree: int) -> str:
    """Return a tree as indented lines; the left child, where the test holds, comes first."""
    root = _root(ensemble, tree)

    def lines(index: int, lead: str, branch: str, below: str) -> Iterator[str]:
        labels = _labels(ensemble, columns, index) + _terms(ensemble, columns, index)
        yield f"{lead}{branch}{', '.join(labels)}"
        node = ensemble.nodes[index]
        if not node["is_leaf"]:
            yield from lines(node["left"], lead + below, "├─ yes: ", "│  ")
            yield from lines(node["right"], lead + below, "└─ no: ", "   ")

    return "\n".join(lines(root, "", "", ""))


def tree_dot(ensemble: Ensemble, columns: Columns, tree: int) -> str:
    """Return a tree in Graphviz's language; `dot -Tsvg` draws it."""
    root = _root(ensemble, tree)
    lines = [f"digraph tree_{tree} {{", "  node [shape=box, fontname=sans];"]
    for index in range(root, ensemble.tree_offsets[tree + 1]):
        labels = _labels(ensemble, columns, index) + _terms(ensemble, columns, index)
        text = r"\n".join(_quoted(label) for label in labels)
        lines.append(f'  n{index - root} [label="{text}"];')
    for index in range(root, ensemble.tree_offsets[tree + 1]):
        node = ensemble.nodes[index]
        if not node["is_leaf"]:
            for side, word in (("left", "yes"), ("right", "no")):
                lines.append(f"  n{index - root} -> n{node[side] - root} [label={word}];")
    return "\n".join([*lines, "}"])


def tree_svg(ensemble: Ensemble, columns: Columns, tree: int) -> str:
    """Return a drawing of a tree as a complete SVG document; the left child is where the test holds."""
    place = _places(ensemble, tree)
    width = max(x for x, _ in place.values()) + _BOX_WIDTH + _GAP_X
    height = max(y for _, y in place.values()) + _BOX_HEIGHT + _GAP_X
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="11" text-anchor="middle">',
        f'<title>tree {tree}</title><rect width="{width:g}" height="{height:g}" fill="white"/>',
    ]
    for index, (x, y) in place.items():
        node = ensemble.nodes[index]
        for side, word in () if node["is_leaf"] else (("left", "yes"), ("right", "no")):
            parts.append(_edge((x, y), place[int(node[side])], word))
    for index, at in place.items():
        labels, terms = _labels(ensemble, columns, index), _terms(ensemble, columns, index)
        parts.append(_box(at, labels, terms, bool(ensemble.nodes[index]["is_leaf"])))
    return "\n".join([*parts, "</svg>"])


def _root(ensemble: Ensemble, tree: int) -> int:
    if not 0 <= tree < ensemble.n_trees:
        raise ValueError(f"tree={tree} should be from 0 to {ensemble.n_trees - 1}, the model's last tree")
    return int(ensemble.tree_offsets[tree])


def _labels(ensemble: Ensemble, columns: Columns, index: int) -> list[str]:
    """Return the test or the value of a node, and what reached it."""
    node = ensemble.nodes[index]
    if node["is_leaf"]:
        n_terms = f" and {node['n_terms']} slopes" if node["n_terms"] else ""
        return [f"{node['value']:+.4g}{n_terms}", f"{node['count']} rows"]
    name = column_label(ensemble, columns, int(node["feature"]))
    side = "yes" if node["missing_left"] else "no"
    test = f"{name} in {{{_some(left_levels(ensemble, columns, node))}}}"
    if not node["is_categorical"]:
        is_known = np.isposinf(node["threshold"])
        test = f"{name} is known" if is_known else f"{name} <= {node['threshold']:.6g}"
    return [test, f"missing: {side}", f"gain {node['gain']:.4g}", f"{node['count']} rows"]


def _terms(ensemble: Ensemble, columns: Columns, index: int) -> list[str]:
    """Return what a linear leaf adds to its value, term by term; z is a feature's value, standardised."""
    node = ensemble.nodes[index]
    fields = (node[f"term_{part}"][: node["n_terms"]] for part in ("slopes", "features", "centers"))
    return [
        f"{slope:+.4g} (z of {column_label(ensemble, columns, int(feature))} - {center:.4g})"
        for slope, feature, center in zip(*fields, strict=True)
    ]


def _some(levels: list[str]) -> str:
    more = len(levels) - _SHOWN_LEVELS
    return ", ".join(levels[:_SHOWN_LEVELS]) + (f" and {more} more" if more > 0 else "")


def _places(ensemble: Ensemble, tree: int) -> dict[int, tuple[float, float]]:
    """Return the upper left corner of each node's box: leaves side by side, parents above their middle."""
    place: dict[int, tuple[float, float]] = {}
    n_leaves = 0

    def visit(index: int) -> float:
        nonlocal n_leaves
        node = ensemble.nodes[index]
        if node["is_leaf"]:
            x = float(_GAP_X + n_leaves * (_BOX_WIDTH + _GAP_X))
            n_leaves += 1
        else:
            x = (visit(int(node["left"])) + visit(int(node["right"]))) / 2
        place[index] = (x, _GAP_X + int(node["depth"]) * (_BOX_HEIGHT + _GAP_Y))
        return x

    visit(_root(ensemble, tree))
    return place


def _edge(above: tuple[float, float], below: tuple[float, float], word: str) -> str:
    x1, y1, x2, y2 = above[0] + _BOX_WIDTH / 2, above[1] + _BOX_HEIGHT, below[0] + _BOX_WIDTH / 2, below[1]
    line = f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#777"/>'
    return line + f'<text x="{(x1 + x2) / 2:g}" y="{(y1 + y2) / 2:g}" fill="#777">{word}</text>'


def _box(at: tuple[float, float], labels: list[str], terms: list[str], is_leaf: bool) -> str:
    (x, y), first, rest = at, labels[0], ", ".join(labels[1:])
    title = "\n".join([first, *terms])
    shown = first if len(first) <= 32 else first[:31] + "…"
    fill = "#e8f1fa" if is_leaf else "#f6f6f6"
    return (
        f'<g><title>{escape(title)}</title><rect x="{x:g}" y="{y:g}" width="{_BOX_WIDTH}" '
        f'height="{_BOX_HEIGHT}" rx="4" fill="{fill}" stroke="#777"/>'
        f'<text x="{x + _BOX_WIDTH / 2:g}" y="{y + 19:g}">{escape(shown)}</text>'
        f'<text x="{x + _BOX_WIDTH / 2:g}" y="{y + 36:g}" fill="#555">{escape(rest)}</text></g>'
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
