"""Hooks of mkdocs.yml: reference pages from the code, and links that leave docs/."""

import html
import pathlib
import posixpath
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import click

from pipeline.config import PipelineConfig
from pipeline.settings import show
from slimline.cli import main
from trainer.config import as_json, flatten, known_keys

MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(`[^`]+`)")
DECISIONS = pathlib.Path(__file__).parents[1] / "docs" / "adr"
# Characters that Markdown takes for markup.
MARKUP = re.compile(r"([\\*_\[\]|])")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The source of a page as MkDocs renders it."""
    filled = MARKER.sub(lambda found: GENERATED[found[1]](), markdown)
    return site_links(filled, page.file.src_uri)


def site_links(markdown: str, page: str) -> str:
    """`markdown` with links that work in the site.

    A link to a file outside docs/ becomes its text, one to a folder leads to its index.

    Args:
      markdown: source of the page.
      page: its path below docs/.
    """

    def replace(found: re.Match[str]) -> str:
        path = posixpath.normpath(
            posixpath.join("docs", posixpath.dirname(page), found[2])
        )
        if "://" in found[2]:
            return found[0]
        if not path.startswith("docs/"):
            return found[1]
        return found[0].replace("/)", "/index.md)")

    return LINK.sub(replace, markdown)


def commands_page() -> str:
    """Markdown of every command: usage, description, arguments and options."""
    return "\n".join(_of_command(main.command, click.Context(main.command), "slimline"))


def settings_page() -> str:
    """Markdown of every setting, a table for each section."""
    defaults = flatten(as_json(PipelineConfig()))
    tables: dict[str, list[str]] = {}
    for key, field in known_keys(PipelineConfig).items():
        section = key.partition(".")[0]
        cells = (
            f"`{key}`",
            escape(type_name(field.type)),
            f"`{default_text(defaults[key])}`",
            escape(field.metadata["help"]),
        )
        tables.setdefault(section, []).append(f"| {' | '.join(cells)} |")
    return "\n".join(
        f"## {section}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
        for section, rows in tables.items()
    )


def default_text(value: Any) -> str:
    """A default as a person types it after `--set KEY=`."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(show(item) for item in value)}]"
    return show(value)


def type_name(kind: Any) -> str:
    """A field's type in words: `float ≥ 0, < 1`, or the words that a choice takes."""
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if get_origin(kind) is tuple:
        return f"list of {type_name(arguments[0])}"
    if not hasattr(kind, "__metadata__"):
        return {"str": "text", "bool": "true or false"}.get(
            kind.__name__, kind.__name__
        )
    symbols = {"Ge": "≥", "Gt": ">", "Le": "≤", "Lt": "<"}
    bounds = ", ".join(
        f"{symbols[type(bound).__name__]} {getattr(bound, type(bound).__name__.lower()):g}"
        for bound in kind.__metadata__[0].metadata
    )
    return f"{arguments[0].__name__} {bounds}"


def escape(text: str) -> str:
    """Plain text as Markdown for a cell of a table; code between backticks stays."""
    return "".join(
        part.replace("|", "&#124;")
        if CODE.fullmatch(part)
        else MARKUP.sub(r"\\\1", html.escape(part, quote=False))
        for part in CODE.split(text)
    )


def decisions_page() -> str:
    """Markdown list of the decisions, by their titles."""
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    return "\n".join(
        f"- [{title.removeprefix('# ')}]({page.name})"
        for page, title in zip(pages, titles, strict=True)
    )


def _of_command(
    command: click.Command, context: click.Context, path: str
) -> Iterator[str]:
    level = "##" if " " not in path or path.count(" ") == 1 else "###"
    yield f"{level} {path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{path} {usage}\n```\n"
    for paragraph in (command.help or "").replace("\b", "").split("\n\n"):
        yield f"{escape(' '.join(paragraph.split()))}\n"
    records = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context))
        and record[1]  # arguments stand in the usage
        and "--help" not in parameter.opts
    ]
    if records:
        yield "| option | meaning |\n|---|---|"
        for names, meaning in records:
            yield f"| `{names}` | {escape(meaning)} |"
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                inner = click.Context(child, parent=context, info_name=name)
                yield from _of_command(child, inner, f"{path} {name}")


GENERATED = {
    "commands": commands_page,
    "settings": settings_page,
    "decisions": decisions_page,
}
