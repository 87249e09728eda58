"""What the pages share: templates, style, and a policy that lets them load nothing."""

import base64
import hashlib
import pathlib
from typing import Any

import jinja2
import markupsafe

from report import drawing, wording

TEMPLATES = pathlib.Path(__file__).parent / "templates"
STYLE = "style.css"
_FILTERS = (
    *("name", "visible", "count", "figure", "signed", "share", "short", "setting"),
    "duration",
)


def environment() -> jinja2.Environment:
    """Environment of the templates; it escapes values in HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in _FILTERS}
    environment.filters["bar"] = drawing.bar
    environment.globals["drawn_interval"] = drawing.interval
    return environment


def render(template: str, script: str = "", **context: Any) -> str:
    """A page as HTML, with its style, script and policy."""
    style = (TEMPLATES / STYLE).read_text(encoding="utf-8")
    return (
        environment()
        .get_template(template)
        .render(
            style=markupsafe.Markup(style),
            script=markupsafe.Markup(script),
            policy=_policy(style, script),
            **context,
        )
    )


def _policy(style: str, script: str) -> str:
    """Lets a page load nothing, and run only its own script."""
    return (
        "default-src 'none'; img-src data:;"
        f" style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
