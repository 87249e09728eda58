"""Small tables for the cells of a notebook."""

import html
from collections.abc import Sequence

_BAR = (
    '<span style="display:inline-block;height:8px;width:{width:.0f}px;'
    'background:#0b5c8a"></span>'
)
BAR_WIDTH_PX = 160


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all cells are text, which is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{_name(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f"<table><caption>{_name(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def bars(rows: Sequence[tuple[str, float]]) -> str:
    """Names with shares, 0 to 1, and a bar for each."""
    body = "".join(
        f"<tr><th>{_name(name)}</th><td>{share:.4f}</td>"
        f'<td style="text-align:left">{_BAR.format(width=BAR_WIDTH_PX * share)}</td></tr>'
        for name, share in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _name(text: str) -> str:
    """Text out of the data: escaped, and its direction kept to itself."""
    return f"<bdi>{html.escape(text)}</bdi>"
