"""Parts of the pages as HTML for a cell of a notebook."""

import pathlib
from typing import Any

from report import confusion, outcome, page, pictures, run_data, training

RUN = "card.html.jinja"
# Limits the style sheet to the card. Three classes override Jupyter's rules for HTML in cells.
_CARD = ".slimline.slimline.slimline"
_OF_THE_CARD = """
& { padding: 12px 16px; background: var(--paper); color: var(--ink); max-width: 1060px;
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums; overflow-x: auto; }
h3 { margin: 16px 0 4px; }
.verdict { font-size: 26px; }
.charts { grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); }
dl, dt, dd { float: none; width: auto; margin: 0; padding: 0; font-weight: inherit; }
table { table-layout: auto; margin: 0; border: 0; }
tr, tbody tr:nth-child(odd), tbody tr:hover { background: none; }
code { background: none; padding: 0; }
"""


def of_run(folder: pathlib.Path) -> str:
    """Verdict, curves and confusion of a finished run.

    Raises:
      ConfigError: there is no such run, it did not end, or all of its artifacts are gone.
    """
    data = run_data.read(folder)
    shown = confusion.matrix(data.verdict["confusion"]) if data.verdict else None
    verdict = outcome.verdict(data)
    # The gate's rules, and those of the served model where it breaks one.
    verdict["groups"] = [
        (title, rules, has_baseline)
        for title, rules, has_baseline in verdict["groups"]
        if title == outcome.GATE or not all(rule["is_kept"] for rule in rules)
    ]
    return render(
        RUN,
        run=data.summary["run"],
        experiment=data.summary["experiment"],
        verdict=verdict,
        curves=training.curves(data),
        confusion=pictures.matrix(data, shown, {}, {}),
    )


def render(template: str, **context: Any) -> str:
    """A template inside an element that limits its style."""
    sheet = (page.TEMPLATES / page.STYLE).read_text(encoding="utf-8")
    style = f"{_CARD} {{ {sheet.replace(':root', '&')} {_OF_THE_CARD} }}"
    body = page.environment().get_template(template).render(**context)
    return f'<div class="slimline"><style>{style}</style>{body}</div>'
