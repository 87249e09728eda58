"""Parts of the pages as HTML for a cell of a notebook."""

import pathlib
from typing import Any

from report import confusion, outcome, page, pictures, run_data, training

RUN = "card.html.jinja"
# Limits the style sheet to the card. Three classes override Jupyter's rules for HTML in cells.
_CARD = ".slimline.slimline.slimline"


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
        summary=data.summary,
        verdict=verdict,
        curves=training.curves(data),
        confusion=pictures.matrix(data, shown, {}, {}),
    )


def render(template: str, **context: Any) -> str:
    """A template inside an element that limits its style."""
    sheet, card = (
        (page.TEMPLATES / name).read_text(encoding="utf-8")
        for name in (page.STYLE, "card.css")
    )
    style = f"{_CARD} {{ {sheet.replace(':root', '&')} {card} }}"
    body = page.environment().get_template(template).render(**context)
    return f'<div class="slimline"><style>{style}</style>{body}</div>'
