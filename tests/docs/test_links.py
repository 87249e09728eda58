"""What the documents point to exists."""

import pathlib
import re

PROJECT = pathlib.Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
PAGE = re.compile(r"docs/[\w/-]+\.(?:md|ipynb)")


def test_links_lead_somewhere(document: pathlib.Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_pages_that_the_code_names_exist() -> None:
    folders = ("schema", "components", "trainer", "data_check", "report", "pipeline")
    files = [
        *(path for folder in folders for path in (PROJECT / folder).rglob("*.*")),
        *(path for name in ("serving", "slimline") for path in (PROJECT / name).rglob("*.*")),
        *(PROJECT / name for name in ("setup.py", "Makefile", "Dockerfile")),
    ]  # fmt: skip
    named = {
        (str(file.relative_to(PROJECT)), page)
        for file in files
        if file.suffix in (".py", ".yml", ".yaml", ".sh", ".html", "")
        and file.is_file()
        for page in PAGE.findall(file.read_text(encoding="utf-8"))
    }
    assert named
    assert not {each for each in named if not (PROJECT / each[1]).exists()}
