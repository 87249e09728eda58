"""Heat maps on the page: those of a model whose evidence is known, and of none."""

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

from common import run_files
from components.model_evaluator import predictions
from report import building, heat_maps, pictures, run_data


@pytest.fixture(scope="module")
def explained(new_run, write_maps_model, tmp_path_factory):
    """A run with its model, and its page."""
    root = tmp_path_factory.mktemp("runs")
    run = new_run(root, passes=False)
    model = root / "digits" / "train" / "model" / "6"
    model.mkdir(parents=True)
    write_maps_model(model / run_files.SERVED_FOLDER, run.classes)
    run.artifacts = {"train": {"model": [str(model)]}}
    run.write()
    return run, building.render(run_data.read(run.folder))


def section(page: str, name: str) -> str:
    (found,) = re.findall(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    return found


def cards(text: str) -> list[dict[str, str]]:
    """Of the images with a heat map: key, source and text of the heat map."""
    pattern = (
        r'<span class="pair"><img.*?><img class="thumb" src="(?P<src>.*?)"'
        r' alt="(?P<alt>.*?)"></span>.*?title="(?P<key>.*?)"'
    )
    return [match.groupdict() for match in re.finditer(pattern, text)]


def pixels(address: str) -> np.ndarray:
    data = base64.b64decode(address.partition("base64,")[2])
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), int)


def test_blending_goes_from_blue_to_yellow():
    image = np.full((4, 4, 1), 100, np.uint8)
    heat = np.array([[0, 1], [0.5, 0]], np.float32)
    mixed = heat_maps.blend(image, heat, 8)
    assert mixed.shape == (8, 8, 3)
    # 0.4 * 100 + 0.6 * the first, last and middle colour.
    assert mixed[0, 0].tolist() == [48, 45, 121]
    assert mixed[0, 7].tolist() == [184, 189, 60]
    assert mixed[7, 0].tolist() == [162, 83, 112]
    assert heat_maps.blend(image, heat, 1).shape == (4, 4, 3)
    colour = np.zeros((30, 40, 3), np.uint8)
    assert heat_maps.blend(colour, heat, 64).shape == (90, 120, 3)


def test_mistakes_and_surest_hits_have_heat_maps(explained):
    run, page = explained
    order = run.table.sort_values(["confidence", "key"], ascending=[False, True])
    hits = predictions.hits(order)
    wrong = order[~hits].head(pictures.MISTAKES)
    of_mistakes = cards(section(page, "mistakes"))
    assert [each["key"] for each in of_mistakes] == wrong["key"].tolist()
    assert [each["alt"] for each in of_mistakes] == [
        f"heat map for {run.classes[label]}" for label in wrong["predicted"]
    ]
    of_hits = cards(section(page, "hits"))
    assert len(of_hits) == pictures.SUREST_HITS == 16
    by_key = run.table.set_index("key").loc[[each["key"] for each in of_hits]]
    assert (by_key["label"] == by_key["predicted"]).all()
    # Of eight classes two each, the surest of each class first.
    assert sorted(by_key["label"][:8]) == sorted(by_key["label"][8:]) == [*range(8)]
    for half in (by_key[:8], by_key[8:]):
        assert half["confidence"].is_monotonic_decreasing
    best = order[hits].groupby("label")["confidence"].max()
    assert sorted(best) == sorted(by_key["confidence"][:8])
    assert len(cards(page)) == len(of_mistakes) + len(of_hits)
    assert page.count("under a heat map of the evidence") == 1
    assert "Not shown in full" not in section(page, "mistakes")
    assert "Least confident hits" in section(page, "hits")
    assert all(each["src"].startswith("data:image/webp;base64,") for each in of_hits)
    assert sum(len(each["src"]) for each in (*of_mistakes, *of_hits)) < 200_000


def test_the_heat_is_for_the_class_that_was_predicted(explained):
    """Dark shapes on lighter ground: even classes look for dark, odd ones for light."""
    run, page = explained
    compared = 0
    for each in cards(section(page, "mistakes")):
        row = run.table.set_index("key").loc[each["key"]]
        shown = pixels(each["src"])
        # Yellow has more red than blue, and the reverse.
        warmth = (shown[..., 0] - shown[..., 2])[8:56, 8:56]
        corner = (shown[..., 0] - shown[..., 2])[:4, :4].mean()
        if row["label"] % 3 != 1:
            continue
        # A rectangle in the middle.
        middle = warmth[16:32, 16:32].mean()
        assert (middle > corner) == (row["predicted"] % 2 == 0), row
        compared += 1
    assert compared > 3


@pytest.mark.parametrize(
    ("names", "sentence"),
    (
        (None, "no heat maps: the model of the run is gone"),
        ((), "no heat maps: an earlier version of slimline exported the model in"),
        (
            ("seen_images", "logits"),
            "no heat maps: the net of the model in",
        ),
    ),
)
def test_without_heat_maps_a_sentence_says_why(
    new_run, write_maps_model, tmp_path, names, sentence
):
    run = new_run(tmp_path, images=60)
    if names is not None:
        pushed = tmp_path / "serving" / "digits"
        pushed.mkdir(parents=True)
        write_maps_model(pushed / "1795657001", run.classes, names=names)
    run.write()
    page = building.render(run_data.read(run.folder))
    assert html.unescape(page).count(f"Not shown in full: {sentence}") == 1
    assert not cards(page)
    assert "heat map of the evidence" not in page
    assert "Most confident hits" in section(page, "hits")
    assert section(page, "mistakes").count("<li>") == min(
        24, (~predictions.hits(run.table)).sum()
    )


def test_a_model_of_other_classes_is_no_reason_to_fail(
    new_run, write_maps_model, tmp_path
):
    run = new_run(tmp_path, images=60)
    (tmp_path / "serving" / "digits").mkdir(parents=True)
    write_maps_model(tmp_path / "serving" / "digits" / "1795657001", ("cow", "pig"))
    run.write()
    page = building.render(run_data.read(run.folder))
    assert "Not shown in full: no heat maps: ValueError: `labels` must be" in page


def test_without_mistakes_the_hits_explain_heat_maps(
    new_run, write_maps_model, tmp_path
):
    run = new_run(tmp_path, images=60, mistake_share=0.0)
    (tmp_path / "serving" / "digits").mkdir(parents=True)
    write_maps_model(tmp_path / "serving" / "digits" / "1795657001", run.classes)
    run.write()
    page = building.render(run_data.read(run.folder))
    assert not cards(section(page, "mistakes"))
    assert "under a heat map of the evidence" in section(page, "hits")
    assert "as those of the mistakes" not in page
    assert len(cards(section(page, "hits"))) == 16
