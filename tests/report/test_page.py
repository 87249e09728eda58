"""The page of a made-up run: its figures, and what it does with names, sizes and gaps."""

import html
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from common import run_files
from common.errors import ConfigError
from components.model_evaluator import gate, predictions
from report import building, pictures, run_data
from trainer import history

MAX_BYTES = 5_000_000
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\"quoted' & {{ 7 * 7 }}",
    "right\u202eto left\u2028",
    "plain",
)


class Elements(HTMLParser):
    """Start tags with their attributes, ids and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def section(page: str, name: str) -> str:
    """Text of a section with the tags taken out."""
    (inner,) = re.findall(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    inner = re.sub(r"<script.*?</script>", "", inner, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inner)).split())


def render(run) -> str:
    return building.render(run_data.read(run.folder))


def as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def cells(page: str) -> dict[str, list]:
    (text,) = re.findall(r'id="cell-document">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)["images"]


def test_it_is_written_into_the_folder_of_the_run(made_up, tmp_path):
    path = building.build(made_up.folder, tmp_path / "page.html")
    assert path == tmp_path / "page.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert building.build(made_up.folder) == made_up.folder / run_files.REPORT_FILE


def test_every_section_has_its_heading_in_order(page):
    assert re.findall(r'<section id="([a-z]+)"', page) == list(building.SECTIONS)
    assert re.findall(r"<h2 id=.*?>(.*?)</h2>", page) == list(
        building.SECTIONS.values()
    )


def test_the_verdict_with_its_rules(page, made_up):
    text = section(page, "verdict")
    top_1 = made_up.verdict["metrics"]["top_1"]
    assert text.startswith("Verdict ✓ Passed Version 1795657001 was pushed.")
    assert (
        f"✓ kept top-1 {top_1:.4f} ≥ 0.8000 required min_top_1 {top_1:.4f} 0.8000"
        in text
    )
    assert "p99 latency 4.2 ms max_latency_ms 4.20 –" in text
    assert "training 7 min 56 s" in text


def test_a_refusal_names_the_rule_and_what_stays(new_run, tmp_path):
    run = new_run(tmp_path, images=24, passes=False)
    run.write()
    text = section(render(run), "verdict")
    assert "✗ Refused Nothing was pushed; version 1795656317 stayed live." in text
    assert "✗ broken class cat 0.7901, required of each 0.8000" in text


def test_metrics_with_intervals_beside_the_baseline(page, made_up):
    text = section(page, "metrics")
    found = made_up.verdict
    low, high = found["intervals"]["top_1"]
    change = found["differences"]["top_1"]
    signs = str.maketrans("-", "\N{MINUS SIGN}")
    told = [
        f"{change[name]:+.4f}".translate(signs)
        for name in ("difference", "low", "high")
    ]
    assert (
        f"top-1 {found['metrics']['top_1']:.4f} {low:.4f} to {high:.4f}"
        f" {found['baseline_metrics']['top_1']:.4f} {told[0]} {told[1]} to {told[2]}"
    ) in text
    assert "On the 240 images of the test split" in text
    assert f"macro F1 {found['metrics']['macro_f1']:.4f}" in text


def test_without_a_baseline_there_are_no_columns_for_it(new_run, tmp_path):
    run = new_run(tmp_path, images=24, has_baseline=False)
    run.write()
    text = section(render(run), "metrics")
    assert "There was no earlier model to compare with." in text
    assert "Difference" not in text
    assert "cross-validation" not in text


def rewritten(run, **changes):
    """The page of a run whose verdict has other values."""
    run.write()
    file = run.evaluation / gate.VERDICT_FILE
    file.write_text(json.dumps(run.verdict | changes))
    return render(run)


def test_classes_that_came_and_went_stand_beside_the_comparison(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    changed = {
        "shared": ["cat", "dog"],
        "added": ["auk", "<b>owl"],
        "removed": ["emu"],
        "images": 17,
    }
    page = rewritten(run, classes=changed)
    text = section(page, "metrics")
    assert "measured on the 17 images of the 2 classes that both models know" in text
    assert "New, without a baseline: auk , <b>owl . Gone: emu ." in text
    assert "<bdi>&lt;b&gt;owl</bdi>" in page


def test_what_could_not_be_compared_has_no_columns(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    changed = {"shared": [], "added": ["auk"], "removed": ["emu"], "images": 0}
    page = rewritten(run, classes=changed, differences=None, baseline_metrics=None)
    text = section(page, "metrics")
    assert "was live, but nothing could be compared with it" in text
    assert "Difference" not in text


def test_the_same_classes_need_no_word(new_run, tmp_path):
    same = {"shared": ["cat", "dog"], "added": [], "removed": [], "images": 24}
    text = section(rewritten(new_run(tmp_path, images=24), classes=same), "metrics")
    assert "measured on the same images" in text
    assert "New," not in text and "Gone" not in text


def test_a_baseline_that_may_have_seen_test_images_is_named(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    text = section(rewritten(run, baseline_seen="cut by <b>seed"), "metrics")
    assert "trained on some of them: cut by <b>seed." in text
    plain = new_run(tmp_path / "plain", images=24)
    assert "trained on some" not in section(rewritten(plain), "metrics")


def test_a_cross_validation_stands_beside_the_metrics(new_run, tmp_path):
    run = new_run(tmp_path, images=24, has_baseline=False)
    run.write()
    run.verdict["cross_validation"] = {
        "top_1": 0.875,
        "low": 0.69,
        "high": 0.9566,
        "images": 24,
        "folds": 5,
    }
    file = run.evaluation / gate.VERDICT_FILE
    file.write_text(json.dumps(run.verdict))
    assert (
        "A 5-fold cross-validation of the class layer on the 24 images of train and eval"
        " has top-1 0.8750, 95 % interval 0.6900 to 0.9566."
    ) in section(render(run), "metrics")


def test_the_figure_without_views_stands_beside_the_metrics(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    views = {
        "views": "mirror",
        "metrics": {"top_1": 0.875},
        "differences": {"top_1": {"difference": 0.04, "low": -0.01, "high": 0.09}},
    }
    text = section(rewritten(run, test_time_views=views), "metrics")
    assert (
        "On the same images: top-1 0.8750 without its test-time views (mirror), +0.0400"
        " with them (95 % interval -0.0100 to +0.0900)."
    ) in text
    plain = new_run(tmp_path / "plain", images=24)
    assert "test-time views" not in section(rewritten(plain), "metrics")


def test_data_with_what_was_left_out(page):
    text = section(page, "data")
    assert "280 images in 8 classes. All classes have equally many." in text
    assert "cat 4 1 30 35" in text
    assert "All 32 8 240 280" in text
    assert "train/cat/broken.png truncated at byte 812" in text
    assert "duplicates dropped 37" in text
    assert "eval 1 anomaly" in text
    assert "eval: image/width: some values above 64" in text
    assert text.count("train/cat/0") == 2


def test_a_data_check_beside_the_run_is_told(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    run.write()
    image = {"key": "a.png", "split": "train", "text": "cat"}
    findings = {
        "unreadable": [["b.png", "no bytes"]],
        "exact_duplicates": [
            {
                "images": [image, *(image | {"key": f"{n}.png"} for n in range(7))],
                "is_across_splits": True,
                "has_several_classes": False,
            }
        ],
        "near_duplicates": None,
        "odd_images": {"dark": [{"image": image, "score": 0.125}]},
        "wrong_labels": [
            {"key": "d.png", "given": "cat", "suggested": "dog", "score": 0.01}
        ],
        "usual": {"odd_size": 20},
        "left_out": ["cleanvision is not installed"],
    }
    (run.folder / run_files.DATA_CHECK_FILE).write_text(
        json.dumps({"schema_version": 1, "findings": findings})
    )
    text = section(render(run), "data")
    assert "b.png: no bytes" in text
    assert (
        "exact duplicates: 1 a.png = 0.png = 1.png = 2.png = 3.png = 4.png and 2 more (across splits)"
        in text
    )
    assert "near-duplicates: not looked for" in text
    assert "dark: 1 a.png, score 0.12" in text
    assert "doubtful labels: 1 d.png: cat, rather dog" in text
    assert "Most images are odd size, so none stands out" in text
    assert "Left out: cleanvision is not installed" in text


def test_curves_say_where_they_begin_and_end(page):
    text = section(page, "curves")
    assert (
        "1,000 steps; the weights of step 950 were exported: eval top-1 0.9312" in text
    )
    charts = [each for each in Elements(page).of("img") if each["class"] == "chart"]
    told = " ".join(each["alt"] for each in charts)
    assert "Learning rate over the steps. train: from 0.09998 to 0." in told
    assert "eval, averaged weights: from 0.2628 to 0.931" in told


START = {
    "name": "mine",
    "source": "<b>mine</b>.h5",
    "licence": "MIT",
    "sha256": "0123456789abcdef" * 4,
}


def with_heads(run, **changes):
    """The made-up run as one that fitted two class layers."""
    run.write()
    for decay, loss, top_1, cross_entropy in (
        (0.1, 0.0432, 0.9, 0.2511),
        (0.01, 0.0123, 0.95, 0.1987),
    ):
        history.heads(run.folder).append(
            {
                "weight_decay": decay,
                "loss": loss,
                "eval_top_1": top_1,
                "eval_cross_entropy": cross_entropy,
            }
        )
    summary = json.loads((run.folder / run_files.SUMMARY_FILE).read_text())
    summary |= {"start": START, "head_top_1": 0.95} | changes
    (run.folder / run_files.SUMMARY_FILE).write_text(json.dumps(summary))
    return render(run)


def test_a_class_layer_alone_is_told_with_all_that_were_fitted(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    page = with_heads(run, steps=0, best_step=0, weights="raw", eval_top_1=0.95)
    (run.folder / history.LOSSES_FILE).unlink()
    text = section(page, "curves")
    assert text.startswith(
        "Curves Started from the published weights mine of <b>mine</b>.h5 (licence MIT,"
        f" SHA-256 {START['sha256']} )."
    )
    assert "<b>mine</b>.h5" not in page
    assert (
        "The net resnet_20 was frozen, and its class layer fitted on the features of all"
        " training images with each weight decay below; the best on eval was taken: top-1"
        " 0.9500."
    ) in text
    assert "0.1000 0.0432 0.2511 0.9000 0.0100 0.0123 0.1987 0.9500" in text
    assert "steps" not in text
    # Nothing is amiss without losses of steps.
    assert "gone" not in section(render(run), "curves")


def test_fine_tuning_after_the_class_layer_is_told_with_both_figures(new_run, tmp_path):
    text = section(with_heads(new_run(tmp_path, images=24)), "curves")
    assert "the best on eval was taken: top-1 0.9500." in text
    assert (
        "Then the net was trained for 1,000 steps; the weights of step 950 were exported:"
        " eval top-1 0.9312, averaged weights."
    ) in text


def test_fine_tuning_that_made_it_worse_says_what_was_exported(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    page = with_heads(run, best_step=0, weights="raw", eval_top_1=0.95)
    assert (
        "Then the net was trained for 1,000 steps; the class layer above stayed best on"
        " eval and was exported: eval top-1 0.9500, raw weights."
    ) in section(page, "curves")


def test_the_matrix_holds_every_image(page, made_up):
    text = section(page, "confusion")
    assert "All cells together hold 240 images" in text
    confusion = np.array(made_up.verdict["confusion"])
    (body,) = re.findall(r'<table class="confusion.*?</table>', page, re.DOTALL)
    shown = Elements(body).of("button")
    assert sum(int(each["data-count"]) for each in shown) == confusion.sum() == 240
    count = confusion[1, 2]
    assert (
        f"true bird, predicted cat: {count} images, {100 * count / 30:.1f} % of the row"
    ) in {each["aria-label"] for each in shown}


def test_cells_hold_their_own_images_the_surest_first(page, made_up):
    images = cells(page)
    for name, found in images.items():
        true, predicted = map(int, name.split("-"))
        table = made_up.table.set_index("key").loc[[each["key"] for each in found]]
        assert (table["label"] == true).all()
        assert (table["predicted"] == predicted).all()
        assert table["confidence"].is_monotonic_decreasing
        assert len(found) == min(12, made_up.verdict["confusion"][true][predicted])
        assert all(each["src"].startswith("data:image/webp;base64,") for each in found)


def test_classes_the_worst_first(page, made_up):
    text = section(page, "classes")
    rows = sorted(made_up.verdict["per_class"].items(), key=lambda row: row[1]["f1"])
    (worst, figures), (best, _) = rows[0], rows[-1]
    assert text.index(f" {worst} ") < text.index(f" {best} ")
    told = [f"{figures[name]:.4f}" for name in ("precision", "recall", "f1")]
    assert f"{worst} {' '.join(told)} {figures['support']}" in text
    gray = made_up.verdict["slices"]["colour"]["gray"]
    assert (
        f"gray {gray['top_1']:.4f} {gray['cross_entropy']:.4f} {gray['example_count']}"
        in text
    )


def test_classes_without_test_images_are_named_and_not_the_worst(new_run, tmp_path):
    run = new_run(tmp_path, images=24, classes=[f"class {n}" for n in range(26)])
    text = section(rewritten(run), "classes")
    assert "Without test images, and left out: class 24 , class 25 ." in text
    assert text.count("class 24") == 1


def test_calibration_with_the_images_of_each_bin(page, made_up):
    text = section(page, "calibration")
    error = made_up.verdict["metrics"]["calibration_error"]
    assert f"Expected calibration error {error:.4f}" in text
    last = made_up.verdict["reliability"][-1]
    assert (
        f"0.933 to 1.000 {last['confidence']:.4f} {last['accuracy']:.4f} {last['count']}"
    ) in text
    assert text.endswith("All 240")


def test_mistakes_the_surest_first(page, made_up):
    text = section(page, "mistakes")
    table = made_up.table
    hits = predictions.hits(table)
    assert f"{(~hits).sum()} of the test images got a wrong class." in text
    surest = table[~hits].nlargest(1, "confidence").iloc[0]
    true, predicted = (made_up.classes[surest[name]] for name in ("label", "predicted"))
    start = f"Most confident mistakes {true} → {predicted} {surest['confidence']:.4f} {surest['key']}"
    assert start in text
    assert text.count("→") == min(24, (~hits).sum())
    assert len(re.findall(r'<img class="thumb"', page)) >= 2 * 24


def test_augmentation_of_six_images(page):
    text = section(page, "augmentation")
    assert "pad_crop (pad_px 4), flip_left_right, brightness (largest 0.3)" in text
    (body,) = re.findall(r'<table class="augmented.*?</table>', page, re.DOTALL)
    sources = [each["src"] for each in Elements(body).of("img")]
    assert len(sources) == 6 * (1 + building.VARIANTS)
    assert len(set(sources)) > 40


def test_configuration_with_the_changed_values_first(page, made_up):
    text = section(page, "configuration")
    assert text.startswith(
        "Configuration Changed settings Setting Value From train.epochs 12 --set"
    )
    changed = text.index("train.learning_rate 0.05 --config my.yaml")
    assert changed < text.index("augmentation.brightness 0.3 default")
    assert "TensorFlow 2.16.2" in text
    assert "3f" * 32 in text
    assert f"evaluate evaluation {made_up.evaluation}" in text
    assert "train 8 min 00 s" in text


def test_hostile_names_stay_text(new_run, tmp_path):
    run = new_run(tmp_path, classes=HOSTILE, images=60)
    run.write()
    page = render(run)
    elements = Elements(page)
    assert all(each["src"].startswith("data:image/") for each in elements.of("img"))
    assert not [name for _, each in elements.found for name in each if name[:2] == "on"]
    assert len(elements.of("script")) == 2
    assert "\u202e" not in page and "\u2028" not in page
    assert (
        "49" not in section(page, "classes").split("plain")[0].split("quoted")[1][:12]
    )
    names = set(re.findall(r"<bdi>(.*?)</bdi>", page))
    assert html.escape(HOSTILE[0]) in names
    assert r"right\u202eto left\u2028" in names
    ids = [each["id"] for _, each in elements.found if "id" in each]
    assert all(re.fullmatch("[a-z-]+", each) for each in ids)
    assert len(set(ids)) == len(ids)
    document = re.findall(r'id="cell-document">(.*?)</script>', page, re.DOTALL)[0]
    assert json.loads(document)["labels"][1] == HOSTILE[1]


def test_nothing_is_loaded_and_only_its_own_script_runs(page):
    elements = Elements(page)
    (policy,) = [
        each["content"] for each in elements.of("meta") if "http-equiv" in each
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert not elements.of("link") and not elements.of("iframe")
    assert all("src" not in each for each in elements.of("script"))
    assert not [each for _, each in elements.found if "style" in each]
    outside = [each["href"] for each in elements.of("a") if each["href"][0] != "#"]
    assert not outside


def test_it_can_be_read_by_those_who_do_not_see_it(page):
    elements = Elements(page)
    assert elements.of("html")[0]["lang"] == "en"
    assert all(each.get("alt") for each in elements.of("img"))
    assert all("scope" in each for each in elements.of("th"))
    assert all(each["aria-hidden"] == "true" for each in elements.of("progress"))


def test_cells_share_their_bytes(made_up, monkeypatch):
    monkeypatch.setattr(pictures, "CELL_BYTES", 20_000)
    images = cells(render(made_up))
    spent = sum(len(each["src"]) for found in images.values() for each in found)
    assert 18_000 < spent <= 20_000
    # No cell gets its third before every one has its first.
    assert len(images) == np.count_nonzero(made_up.verdict["confusion"])
    assert max(map(len, images.values())) == 2


@pytest.mark.parametrize("size_px", (pytest.param(32, marks=pytest.mark.nightly), 96))
def test_ten_thousand_images_stay_below_5_mb(new_run, tmp_path, size_px):
    classes = [f"class {number}" for number in range(10)]
    run = new_run(tmp_path, classes=classes, images=10_000, size_px=size_px)
    if size_px > 32:
        # Noise is what compresses worst; one picture for all saves the time to make more.
        noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
        encoded = as_png(noise)
        run.picture = lambda label, number: encoded
    run.write()
    page = render(run)
    assert len(page.encode()) < MAX_BYTES
    shown = sum(map(len, cells(page).values()))
    assert 300 < shown <= 1200
    assert "All cells together hold 10,000 images" in section(page, "confusion")


def test_of_many_classes_the_most_confused_are_shown(new_run, tmp_path):
    classes = [f"class {number:02}" for number in range(34)]
    run = new_run(tmp_path, classes=classes, images=340, mistake_share=0.0)
    table = run.table
    # Four classes are never confused, the others with their neighbour once.
    first = table[table["label"] < 30].groupby("label").head(1).index
    table.loc[first, "predicted"] = (table.loc[first, "label"] + 1) % 30
    run.write()
    page = render(run)
    text = section(page, "confusion")
    assert "Of 34 classes the 30 with most confusion are shown, with 300 of the" in text
    assert "class 29" in text and "class 30" not in text


@pytest.mark.parametrize(
    ("gone", "named", "still"),
    (
        ("evaluation", "verdict.json", ("data", "280 images in 8 classes")),
        ("examples", "Split-test", ("classes", "airplane")),
        ("anomalies", "SchemaDiff.pb", ("classes", "airplane")),
    ),
)
def test_what_is_gone_is_named_and_the_rest_is_shown(
    new_run, tmp_path, gone, named, still
):
    run = new_run(tmp_path)
    run.write()
    shutil.rmtree(getattr(run, gone))
    page = render(run)
    assert "Not shown in full: " in page and named in page
    name, text = still
    assert text in section(page, name)
    assert "✓ Passed" in section(page, "verdict")
    assert f"{run.verdict['metrics']['top_1']:.4f}" in section(page, "metrics")


def test_damaged_files_are_named(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    run.write()
    (run.evaluation / predictions.FILE).write_bytes(b"no table")
    (run.evaluation / "verdict.json").write_text("{")
    (run.anomalies / "Split-eval" / "SchemaDiff.pb").write_bytes(b"\xff")
    page = render(run)
    for name in (predictions.FILE, "verdict.json"):
        assert f"damaged: {run.evaluation / name}" in page
    assert f"damaged: {run.anomalies / 'Split-eval' / 'SchemaDiff.pb'}" in page


def test_a_run_without_any_artifact_is_refused(new_run, tmp_path):
    run = new_run(tmp_path, images=24)
    run.write()
    shutil.rmtree(run.evaluation)
    shutil.rmtree(run.examples)
    with pytest.raises(
        ConfigError, match=r"the artifacts of run .* are gone"
    ) as caught:
        building.build(run.folder)
    assert str(run.evaluation) in caught.value.found
    assert not (run.folder / run_files.REPORT_FILE).exists()


def test_a_run_that_did_not_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no summary\.json: it failed or was"):
        building.build(tmp_path)
    with pytest.raises(ConfigError, match="no run in"):
        building.build(tmp_path / "none")
