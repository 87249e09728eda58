"""The page in a browser: what it asks for, what its script does, how wide it is."""

import importlib.util
import pathlib
import sys

import pytest
from PIL import Image

from report import building


def load_browser():
    """The helper beside this file; tests are no package."""
    path = pathlib.Path(__file__).with_name("browser.py")
    spec = importlib.util.spec_from_file_location("report_browser", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


browser = load_browser()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A browser; a skip that says what is missing where there is none."""
    program = browser.find_program()
    if program is None:
        pytest.skip("no Chromium to open the report (Debian: apt install chromium)")
    with browser.open_browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_the_page_in_a_browser(opened, made_up, tmp_path):
    path = building.build(made_up.folder, tmp_path / "report.html")
    assert opened.open(path, 1280) < 5_000  # ms, on a machine that trains meanwhile
    assert opened.run(
        "[...document.querySelectorAll('main > section')].map(s => s.id)"
    ) == list(building.SECTIONS)
    top_1 = f"{made_up.verdict['metrics']['top_1']:.4f}"
    assert top_1 in opened.run("document.getElementById('metrics').innerText")
    assert opened.run(
        "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    )

    # A click on a cell shows its images, a second one hides them.
    cell = "document.querySelector('button[data-cell=\"1-2\"]')"
    panel = "document.getElementById('cell-images')"
    assert opened.run(f"{panel}.hidden")
    opened.run(f"{cell}.click()")
    assert opened.run("document.getElementById('cell-title').textContent") == (
        "true \u2068bird\u2069 → predicted \u2068cat\u2069"
    )
    count = made_up.verdict["confusion"][1][2]
    shown = "document.querySelectorAll('#cell-gallery img').length"
    assert opened.run(shown) == count > 0
    assert opened.run(f"{cell}.getAttribute('aria-expanded')") == "true"
    opened.run(f"{cell}.click()")
    assert opened.run(f"{panel}.hidden")

    # The same by the keyboard; a cell with more images than are shown says so.
    opened.run("document.querySelector('button[data-cell=\"0-0\"]').focus()")
    opened.press("Enter")
    hits = made_up.verdict["confusion"][0][0]
    note = opened.run("document.getElementById('cell-note').textContent")
    assert note.startswith(f"{hits} images, {hits - 12} of them not shown")
    opened.press("ArrowRight")
    moved = opened.run("document.activeElement.dataset.cell")
    assert moved.startswith("0-") and moved != "0-0"
    opened.press("Escape")
    assert opened.run(f"{panel}.hidden")

    for width in (1280, 400):
        opened.resize(width)
        assert opened.run("document.documentElement.scrollWidth") <= width
        picture = tmp_path / f"{width}.png"
        opened.screenshot(picture)
        with Image.open(picture) as image:
            assert image.width <= width
            assert len(image.convert("RGB").getcolors(1 << 24)) > 500
    elsewhere = [url for url in opened.requests if not url.startswith("data:")]
    assert set(elsewhere) == {path.as_uri()}
    assert opened.errors == []


def test_hostile_names_run_nothing(opened, new_run, tmp_path):
    names = (
        "<img src=x onerror=document.title='taken'>",
        "</script><script>document.title='taken'</script>",
        "'\"><svg onload=document.title='taken'>",
    )
    run = new_run(tmp_path, classes=names, images=60, mistake_share=0.5)
    opened.open(building.build(run.write()), 1280)
    assert opened.run("document.querySelectorAll('button[data-cell]').length") > 4
    opened.run("document.querySelectorAll('button[data-cell]').forEach(b => b.click())")
    assert opened.run("document.title") == "2026-11-26_0201_quick-heron: passed"
    title = opened.run("document.getElementById('cell-title').textContent")
    assert title.startswith("true \u2068'\"><svg onload")
    assert opened.errors == []
