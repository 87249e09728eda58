"""The site builds without a warning, offline, and its reference is complete."""

import html.parser
import importlib.util
import pathlib
import re

import click
import pytest
from mkdocs.commands import build
from mkdocs.config import load_config

from pipeline.config import PipelineConfig
from slimline.cli import main
from trainer.config import known_keys

PROJECT = pathlib.Path(__file__).parents[2]


class Loads(html.parser.HTMLParser):
    """Collects the addresses that a page loads by itself."""

    def __init__(self) -> None:
        """No page yet."""
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See base class."""
        self.addresses += [
            value or ""
            for name, value in attrs
            if name in ("src", "srcset", "data", "poster")
            or (tag == "link" and name == "href")
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> pathlib.Path:
    """The built site; a warning of MkDocs fails the build."""
    folder = tmp_path_factory.mktemp("site")
    path = str(PROJECT / "mkdocs.yml")
    build.build(load_config(path, site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(scope="module")
def hooks():
    """The module scripts/docs_site.py."""
    path = PROJECT / "scripts" / "docs_site.py"
    spec = importlib.util.spec_from_file_location("docs_site", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_load_nothing_from_other_hosts(site: pathlib.Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        parser = Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        assert len(parser.addresses) > 3
        foreign = [each for each in parser.addresses if "//" in each.split("?")[0]]
        assert not foreign, f"{page.name} loads {foreign}"


def test_styles_load_nothing_from_other_hosts(site: pathlib.Path) -> None:
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", text), style.name


def commands(command: click.Command, path: str) -> dict[str, click.Command]:
    """Name with those of its groups -> command, without hidden ones."""
    found = {path: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if not child.hidden:
                found |= commands(child, f"{path} {name}")
    return found


def test_every_command_and_option_is_in_the_reference(site: pathlib.Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    for name, command in commands(main.command, "slimline").items():
        anchor = name.replace(" ", "-")
        section = re.search(rf'<h[23] id="{anchor}">(.*?)(?=<h[23] id|\Z)', text, re.S)
        assert section, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[-1] in section[1], f"{name} {parameter.opts}"


def test_every_setting_is_in_the_reference(site: pathlib.Path) -> None:
    text = (site / "settings.html").read_text(encoding="utf-8")
    for key in known_keys(PipelineConfig):
        assert f"<code>{key}</code>" in text
    row = re.search(r"<code>train.ema_decay</code>.*?</tr>", text, re.S)
    assert row and "float ≥ 0, &lt; 1" in row[0]


def test_text_of_the_code_is_not_taken_for_markup(site: pathlib.Path, hooks) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    assert "&lt;model&gt;-tiny" in text
    assert hooks.escape("a|b `c|d` <e> __f__ [g]") == (
        "a\\|b `c&#124;d` &lt;e&gt; \\_\\_f\\_\\_ \\[g\\]"
    )


def test_links_that_leave_the_documents_become_text(hooks) -> None:
    source = "[a](../b.md) [c](d.md#e) [f](https://g/h) [i](adr/)"
    assert hooks.site_links(source, "page.md") == (
        "a [c](d.md#e) [f](https://g/h) [i](adr/index.md)"
    )
    assert hooks.site_links("[a](../b.md) [c](../../d)", "adr/x.md") == (
        "[a](../b.md) c"
    )
