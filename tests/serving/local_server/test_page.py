"""The page in a browser: drop an image, see its class; and nothing from elsewhere."""

import base64
import importlib.util
import json
import pathlib
import sys
import time

import pytest
from PIL import Image

COLOURS = {"red": (250, 10, 20), "green": (30, 220, 9), "blue": (0, 70, 200)}
DROP = """
(files) => {
  const transfer = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
    transfer.items.add(new File([bytes], name, {type}));
  }
  const event = {dataTransfer: transfer, bubbles: true, cancelable: true};
  document.getElementById("drop").dispatchEvent(new DragEvent("dragover", event));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", event));
}
"""


def load_browser():
    """The helper of the report's tests; tests are no package."""
    path = pathlib.Path(__file__).parents[2] / "report" / "browser.py"
    spec = importlib.util.spec_from_file_location("report_browser", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


browser = load_browser()


@pytest.fixture
def opened(served, tmp_path):
    """A browser that shows the page; a skip that says what is missing without one."""
    program = browser.find_program()
    if program is None:
        pytest.skip("no Chromium to open the page (Debian: apt install chromium)")
    with browser.open_browser(program, tmp_path / "profile") as page:
        page.open_url(f"{served.url}/", 1280)
        wait(page, "document.getElementById('model').options.length", 2)
        yield page


def wait(page, expression, value):
    end = time.monotonic() + 60
    while (found := page.run(expression)) != value:
        assert time.monotonic() < end, (expression, found, page.errors)
        time.sleep(0.05)


def drop(page, files):
    listed = [
        [name, kind, base64.b64encode(content).decode()]
        for name, kind, content in files
    ]
    page.run(f"({DROP})({json.dumps(listed)})")


def cards(page, part):
    return page.run(
        "[...document.querySelectorAll('.card')].map(card =>"
        f" card.querySelector('{part}').textContent)"
    )


def test_drop_and_see(opened, served, png, tmp_path):
    kinds = dict(zip(COLOURS, ["PNG", "JPEG", "WEBP"], strict=True))
    files = [
        (f"{name}.file", f"image/{kind.lower()}", png(*COLOURS[name], 40, kind))
        for name, kind in kinds.items()
    ]
    drop(opened, files)
    wait(opened, "document.querySelectorAll('.verdict:not([hidden])').length", 3)
    assert cards(opened, ".label") == list(COLOURS)
    assert cards(opened, ".name") == [name for name, _, _ in files]
    assert all("colours, version 1 · " in foot for foot in cards(opened, ".foot"))
    bars = opened.run(
        "[...document.querySelector('.card').querySelectorAll('.bars li')].map(bar =>"
        " [bar.querySelector('.class').textContent, bar.querySelector('.share').textContent,"
        " bar.querySelector('.fill').style.width])"
    )
    assert [bar[0] for bar in bars] == ["red", "blue", "green"]
    for _, share, width in bars:
        assert share == f"{float(width.rstrip('%')):.1f} %"
    assert sum(float(bar[2].rstrip("%")) for bar in bars) == pytest.approx(100, abs=0.1)
    assert opened.run(
        "[...document.images].every(image => image.naturalWidth === 40 && image.alt)"
    )
    heard = opened.run("document.getElementById('heard').textContent")
    assert heard.split(":")[0] in [name for name, _, _ in files]

    # Another model, another version.
    choose = (
        "(id, text) => { const select = document.getElementById(id);"
        " select.value = [...select.options].find(o => o.text === text).value;"
        " select.dispatchEvent(new Event('change')); }"
    )
    versions = "[...document.getElementById('version').options].map(o => o.text)"
    assert opened.run(versions) == ["served (1)", "canary (2)", "stable (1)", "2", "1"]
    opened.run(f"({choose})('version', 'canary (2)')")
    command = opened.run("document.getElementById('command').textContent")
    assert f"{served.url}/v1/models/colours/labels/canary:predict" in command
    drop(opened, files[:1])
    wait(opened, "document.querySelectorAll('.verdict:not([hidden])').length", 4)
    assert "colours, version 2" in cards(opened, ".foot")[0]
    opened.run(f"({choose})('model', 'wide')")
    assert opened.run(versions) == ["served (7)", "7"]
    drop(opened, files[:1])
    wait(opened, "document.querySelectorAll('.verdict:not([hidden])').length", 5)
    assert "wide, version 7" in cards(opened, ".foot")[0]
    assert "7 more classes" in cards(opened, ".foot")[0]

    for width in (1280, 400):
        opened.resize(width)
        assert opened.run("document.documentElement.scrollWidth") <= width
        picture = tmp_path / f"{width}.png"
        opened.screenshot(picture)
        with Image.open(picture) as image:
            assert len(image.convert("RGB").getcolors(1 << 24)) > 200
    own = [url for url in opened.requests if not url.startswith(("blob:", "data:"))]
    assert all(url.startswith(f"{served.url}/") for url in own)
    assert opened.errors == []

    opened.run("document.getElementById('clear').click()")
    assert cards(opened, ".name") == []
    assert opened.run("document.activeElement.id") == "files"


def test_what_goes_wrong_is_told_in_words(opened, png):
    files = [
        ("notes.txt", "text/plain", b"hello"),
        ("cut.png", "image/png", png(*COLOURS["red"], 60)[:60]),
        ("<img src=x onerror=document.title='taken'>.png", "image/png", png(1, 2, 3)),
    ]
    drop(opened, files)
    wait(opened, "document.querySelectorAll('.problem:not([hidden])').length", 2)
    wait(opened, "document.querySelectorAll('.verdict:not([hidden])').length", 1)
    told = cards(opened, ".problem")
    assert told[0] == "This file is no image that the browser can read."
    assert told[1]
    assert not told[1].startswith("instance")
    assert cards(opened, ".name")[2] == files[2][0]
    assert opened.run("document.title") == "slimline serve"
    # Of these three the server refused one, and the browser notes that in its log.
    assert opened.errors == [
        "Failed to load resource: the server responded with a status of 400 (Bad Request)"
    ]
