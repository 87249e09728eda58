"""What the pages share: templates, style, and a policy that lets them load nothing."""

import base64
import hashlib
import pathlib

import jinja2

from report import drawing, wording

TEMPLATES = pathlib.Path(__file__).parent / "templates"
STYLE = "style.css"


def environment() -> jinja2.Environment:
    """For the templates; what they fill in is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name": wording.name,
        "visible": wording.visible,
        "count": wording.count,
        "figure": wording.figure,
        "signed": wording.signed,
        "share": wording.share,
        "short": wording.short,
        "setting": wording.setting,
        "duration": wording.duration,
        "bar": drawing.bar,
    }
    return environment


def policy(style: str, script: str = "") -> str:
    """Lets a page load nothing, and run its own script alone."""
    return (
        "default-src 'none'; img-src data:;"
        f" style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
