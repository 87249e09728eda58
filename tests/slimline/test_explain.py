"""`slimline predict --explain` with a model whose evidence is known."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pets(here, write_maps_model):
    """A pushed model, and two images for it: one black with a white corner, one white."""
    folder = here / "runs" / "serving" / "pets"
    folder.mkdir(parents=True)
    write_maps_model(folder / "7")
    corner = np.zeros((8, 8), np.uint8)
    corner[6:, :2] = 255
    Image.fromarray(corner).save("corner.png")
    Image.fromarray(np.full((20, 30, 3), 255, np.uint8)).save("white.jpg")
    return folder / "7"


def panels(path: pathlib.Path) -> list[np.ndarray]:
    """Pixels of the panels of a picture of one row, from the left."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"), int)
    (middle,) = pixels[pixels.shape[0] // 2 : pixels.shape[0] // 2 + 1]
    is_panel = (middle < 250).any(axis=1)
    starts = np.flatnonzero(np.diff(is_panel.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(is_panel.astype(int), append=0) == -1)
    return [
        pixels[:, start : end + 1]
        for start, end in zip(starts, ends, strict=True)
        if end - start > 40
    ]


def test_the_picture_shows_where_the_evidence_is(call, pets, here):
    code, out, err = call("predict", "corner.png", "--explain")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["file", "class", "score", "next"]
    assert out.splitlines()[1].split()[:3] == ["corner.png", "dark", "1.000"]
    assert out.splitlines()[2] == "explanation.png"
    image, heat = panels(here / "explanation.png")
    rows = np.flatnonzero((image.max(axis=2) < 5).mean(axis=1) > 0.5)
    # Without the edges, which are smoothed.
    inner = slice(rows[0] + 2, rows[-1] - 1)
    image, heat = (each[inner, 2:-2] for each in (image, heat))
    side = len(image) // 4
    # White in the lower left corner, black elsewhere; dark counts there, not here.
    assert image[: 2 * side].max() < 10
    assert image[-side // 2 :, 10 : side // 2].min() > 245
    yellow, blue = heat[side, 2 * side], heat[-side // 3, side // 3]
    assert yellow[0] > 2 * yellow[2]
    assert blue[2] > blue[0]


def test_two_images_and_json(call, pets, here):
    code, out, err = call(
        *("predict", "corner.png", "white.jpg", "--explain", "--json"),
        *("--output", "why.png", "--model", "pets@7"),
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["picture"] == "why.png"
    assert [each["label"] for each in told["predictions"]] == ["dark", "light"]
    with Image.open(here / "why.png") as picture:
        assert picture.width > 1.8 * picture.height
    # Drawn anew without asking, as other pictures are.
    assert call("predict", "white.jpg", "--explain", "--output", "why.png", "-q") == (
        0,
        "",
        "",
    )


def test_the_samples_of_a_run(call, pets, here):
    folder = here / "runs" / "2026-11-22_0201_quick-heron"
    folder.mkdir()
    summary = {
        "pushed_path": str(pets),
        "sample_images": {str(here / "corner.png"): "light"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    code, out, _ = call("predict", "--run", "latest", "--explain")
    assert code == 0
    assert out.splitlines()[1].split()[:3] == ["corner.png", "light", "dark"]
    assert (here / "explanation.png").is_file()


def test_a_server_cannot_explain(call, pets, here):
    code, out, err = call("predict", "corner.png", "--explain", "--server", "x:1")
    assert (code, out) == (2, "")
    assert err == (
        "error: --explain takes no --server: a server answers with classes, not with what"
        " happens inside the net\n"
        "  tip: give the model itself: --run RUN or --model PATH in place of --server\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (
            ["--output", "a.csv"],
            "error: --explain draws a PNG\n  found: --output a.csv",
        ),
        (["--output", "none/a.png"], "error: cannot write none/a.png: No such file"),
        (["--force"], "error: --explain takes no --from-logs, --force or --plain"),
        (["white.jpg"] * 64, "error: --explain draws at most 64 images"),
    ),
)
def test_what_does_not_go_with_it(call, pets, here, arguments, message):
    code, out, err = call("predict", "corner.png", "--explain", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert not list(here.glob("*.csv"))


def test_an_older_model_is_to_be_trained_again(call, here, pets, write_maps_model):
    write_maps_model(here / "old", names=())
    code, out, err = call(
        "predict", "corner.png", "--model", str(here / "old"), "--explain"
    )
    assert (code, out) == (2, "")
    assert err == (
        f"error: an earlier version of slimline exported the model in {here / 'old'},"
        " without what a heat map needs; train it again with slimline run\n"
    )
    assert not (here / "explanation.png").exists()
