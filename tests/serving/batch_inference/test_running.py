import csv
import dataclasses
import errno
import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import time

import filelock
import pytest
import tensorflow as tf

from common.errors import ConfigError, DataError
from schema import images
from serving import encoding, local_model
from serving.batch_inference import parts, running, steps

KILL_SCRIPT = pathlib.Path(__file__).with_name("kill_and_resume.py")
KILL_POINTS = 5


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of one batch, so that a few photos are several parts."""
    monkeypatch.setattr(local_model, "BATCH_SIZE", 4)
    monkeypatch.setattr(parts, "PART_FILES", 4)


@pytest.fixture
def break_off(monkeypatch):
    """Function (error): the third part is not written, because of the error."""

    def break_off(error):
        write = parts.write

        def fail(folder, part, *content):
            if part.number == 2:
                raise error
            write(folder, part, *content)

        context = monkeypatch.context()
        patch = context.__enter__()
        patch.setattr(parts, "write", fail)
        return lambda: context.__exit__(None, None, None)

    return break_off


def listed(path="results.jsonl.unreadable.csv"):
    with pathlib.Path(path).open(encoding="utf-8", newline="") as file:
        heading, *lines = csv.reader(file)
    assert heading == ["file", "reason"]
    return dict(lines)


def names():
    return sorted(path.name for path in pathlib.Path().iterdir())


def leftovers():
    return [name for name in names() if "parts" in name]


def test_the_answers_are_those_of_the_model(classify, write_photos, read_rows, version):
    photos = write_photos("photos", 11)
    result = classify("photos", top=2)
    expected = local_model.LocalModel.load(version).predict(photos, top=2)
    assert len(expected) == 11
    assert read_rows() == [
        {
            "file": photo,
            "label": prediction.label,
            "score": prediction.score,
            "top": [{"label": name, "score": score} for name, score in prediction.top],
            "model": "colours@7",
        }
        for photo, prediction in zip(photos, expected, strict=True)
    ]
    classify("photos", top=2, output="results.csv")
    with pathlib.Path("results.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [
        (
            row["file"],
            [(row[f"label_{n}"], float(row[f"score_{n}"])) for n in (1, 2)],
        )
        for row in table
    ] == [
        (photo, prediction.top)
        for photo, prediction in zip(photos, expected, strict=True)
    ]
    labels = [prediction.label for prediction in expected]
    assert result.images_per_class == {
        label: labels.count(label)
        for label in ("red", "green", "the blue")
        if label in labels
    }
    assert (result.images, result.unreadable, result.resumed_files) == (11, 0, 0)
    assert result.unreadable_file is None
    assert names() == ["photos", "results.csv", "results.jsonl"]


def test_more_classes_than_there_are(classify, write_photos, read_rows):
    write_photos("photos", 1)
    classify("photos", top=9)
    assert len(read_rows()[0]["top"]) == 3
    classify("photos", top=9, output="results.csv")
    heading = pathlib.Path("results.csv").read_text().splitlines()[0]
    assert heading == "file,label_1,score_1,label_2,score_2,label_3,score_3,model"
    with pytest.raises(ValueError, match="`top` must be at least 1"):
        classify("photos", top=0)


def test_how_the_files_are_named_changes_nothing(classify, write_photos):
    photos = write_photos("photos", 9)
    classify("photos")
    whole = pathlib.Path("results.jsonl").read_bytes()
    pathlib.Path("list.txt").write_text("\n".join(reversed(photos)))
    for words in (["list.txt"], ["photos/*.png"], photos[::-1], ["photos", photos[0]]):
        classify(*words, replaces=True)
        assert pathlib.Path("results.jsonl").read_bytes() == whole


def test_unreadable_files_are_listed(classify, write_photos, read_rows, version):
    photos = write_photos("photos", 6)
    good = pathlib.Path(photos[0]).read_bytes()
    pathlib.Path("photos/0002b.png").write_text("no image")
    pathlib.Path("photos/empty.png").touch()
    pathlib.Path("photos/cut.png").write_bytes(good[:-30])
    pathlib.Path("photos/circle").symlink_to(".")
    pathlib.Path("photos/folder.d").mkdir()
    os.mkfifo("photos/pipe")
    lines = [*photos, "photos/gone.png", "photos/folder.d", "photos/pipe"]
    pathlib.Path("list.txt").write_text("\n".join(lines))
    result = classify("photos", "list.txt")
    assert [row["file"] for row in read_rows()] == photos
    expected = local_model.LocalModel.load(version).predict(photos)
    scores = [row["score"] for row in read_rows()]
    assert scores == pytest.approx([one.score for one in expected], abs=1e-6)
    reasons = listed()
    assert list(reasons) == sorted(reasons)
    assert reasons.pop("photos/cut.png").startswith(("damaged image", "PNG data"))
    assert reasons == {
        "photos/0002b.png": "not an image: it starts with b'no image'",
        "photos/circle": "a link to a folder above it",
        "photos/empty.png": "the file is empty",
        "photos/folder.d": "not a file",
        "photos/gone.png": "No such file or directory",
        "photos/pipe": "not a file",
    }
    assert (result.images, result.unreadable) == (6, 7)
    assert result.unreadable_file == str(
        pathlib.Path("results.jsonl.unreadable.csv").resolve()
    )
    # With none of them left, the list of the older output is gone.
    assert classify(*photos, replaces=True).unreadable_file is None
    assert not pathlib.Path("results.jsonl.unreadable.csv").exists()


def test_what_only_the_graph_refuses_is_listed_too(
    classify, write_photos, read_rows, monkeypatch
):
    photos = write_photos("photos", 6)
    refused = pathlib.Path(photos[1]).read_bytes()
    predict = local_model.LocalModel.predict_encoded

    def refuse(self, encoded, top):
        if refused in encoded:
            raise tf.errors.InvalidArgumentError(None, None, "bad\nnode")
        return predict(self, encoded, top)

    monkeypatch.setattr(local_model.LocalModel, "predict_encoded", refuse)
    classify("photos")
    assert [row["file"] for row in read_rows()] == [photos[0], *photos[2:]]
    assert listed() == {photos[1]: "the model refuses it: bad"}


def test_nothing_readable_is_an_error(classify, write_photos):
    for number in range(6):
        pathlib.Path(f"{number}.png").write_text("no image")
    with pytest.raises(DataError, match="none of 6 files can be read") as caught:
        classify(".")
    assert caught.value.found.startswith("0.png: not an image")
    assert len(listed()) == 6
    assert not pathlib.Path("results.jsonl").exists()
    assert leftovers() == []
    write_photos(".", ["6.png"])
    assert classify(".").images == 1


def test_no_files_are_an_error(classify):
    pathlib.Path("photos").mkdir()
    with pytest.raises(DataError, match="no images in photos"):
        classify("photos")
    assert names() == ["photos"]


def test_odd_names_come_back(classify, write_photos, read_rows):
    names = ["=1+1.png", "two\nlines.png", "\udcff.png", "\x1b[2J.png", "猫 '\".png"]
    write_photos("photos", names)
    classify("photos")
    found = {row["file"] for row in read_rows()}
    assert found == {f"photos/{name}" for name in names}
    classify("photos", output="results.csv")
    text = pathlib.Path("results.csv").read_text(encoding="utf-8")
    assert text.count("\n") == 1 + len(names)
    assert "photos/two\\nlines.png" in text


def test_the_output_is_not_among_its_files(classify, write_photos, break_off):
    photos = write_photos(".", 9)
    mend = break_off(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        classify("*", "**/*")
    mend()
    assert classify("*", "**/*").images == len(photos)
    result = classify("*", replaces=True)
    assert (result.images, result.unreadable) == (len(photos), 0)


def test_an_existing_output_stays_until_the_new_one_is_whole(
    classify, write_photos, break_off
):
    write_photos("photos", 12)
    output = pathlib.Path("results.jsonl")
    output.write_text("mine")
    with pytest.raises(ConfigError, match=r"results\.jsonl exists already") as caught:
        classify("photos")
    assert caught.value.tip.startswith("--force")
    mend = break_off(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        classify("photos", replaces=True)
    assert output.read_text() == "mine"
    mend()
    # The parts say that it was to be replaced.
    assert classify("photos").resumed_files == 8
    assert len(output.read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("results.txt", "cannot tell the format"),
        ("none/results.csv", "cannot write none/results.csv"),
    ],
)
def test_outputs_that_cannot_be(classify, write_photos, output, message):
    write_photos("photos", 1)
    with pytest.raises(ConfigError, match=message):
        classify("photos", output=output)


def test_it_goes_on_where_it_was_broken_off(
    classify, write_photos, break_off, monkeypatch
):
    write_photos("photos", 15)
    pathlib.Path("photos/0001.png").write_text("no image")
    classify("photos", output="unbroken.jsonl")
    mend = break_off(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        classify("photos")
    mend()
    assert not pathlib.Path("results.jsonl").exists()
    read = []
    check_file = encoding.check_file
    monkeypatch.setattr(
        encoding, "check_file", lambda path: read.append(path) or check_file(path)
    )
    result = classify("photos")
    assert [pathlib.Path(path).name for path in sorted(read)] == [
        f"{number:04}.png" for number in range(8, 15)
    ]
    assert (result.images, result.unreadable, result.resumed_files) == (14, 1, 8)
    for suffix in ("", ".unreadable.csv"):
        unbroken = pathlib.Path(f"unbroken.jsonl{suffix}").read_bytes()
        assert pathlib.Path(f"results.jsonl{suffix}").read_bytes() == unbroken
    assert leftovers() == []


@pytest.fixture
def broken_off(classify, write_photos, break_off, version, tmp_path):
    """A job that was broken off, with a model of its own; gives the model's folder."""
    write_photos("photos", 12)
    own = tmp_path / "own" / "7"
    shutil.copytree(version, own)
    mend = break_off(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        classify("photos", model=own)
    mend()
    return own


def change_weights(model):
    (path,) = model.glob("variables/*.data*")
    path.write_bytes(path.read_bytes() + b"\0")


CHANGES = {
    "the files of model own@7 have changed": lambda model: change_weights(model),
    "1 file more, as photos/new.png": lambda model: shutil.copy(
        "photos/0000.png", "photos/new.png"
    ),
    "2 files gone, as photos/0000.png": lambda model: [
        pathlib.Path(f"photos/000{number}.png").unlink() for number in (0, 3)
    ],
    "1 file changed, as photos/0011.png": lambda model: shutil.copy(
        "photos/0000.png", "photos/0011.png"
    ),
}


@pytest.mark.parametrize("difference", CHANGES)
def test_another_job_is_refused_with_the_difference(classify, broken_off, difference):
    CHANGES[difference](broken_off)
    with pytest.raises(
        ConfigError, match="belongs to another batch inference"
    ) as caught:
        classify("photos", model=broken_off)
    assert caught.value.found == difference
    result = classify("photos", model=broken_off, replaces=True)
    assert result.resumed_files == 0
    assert leftovers() == []


def test_another_version_and_other_options_are_refused(classify, broken_off):
    other = broken_off.rename(broken_off.with_name("8"))
    with pytest.raises(ConfigError) as caught:
        classify("photos", model=other, top=1)
    assert caught.value.found == "model own@7 then, own@8 now; top 3 then, 1 now"


def test_what_lies_beside_the_model_may_change(classify, broken_off):
    card = broken_off / "assets.extra" / "model_card.md"
    card.parent.mkdir()
    card.write_text("written after the push")
    assert classify("photos", model=broken_off).resumed_files == 8


def test_a_lost_list_is_refused(classify, broken_off):
    pathlib.Path("results.jsonl.parts", parts.FILES_FILE).write_text("{")
    pathlib.Path("photos/new.png").touch()
    with pytest.raises(ConfigError) as caught:
        classify("photos", model=broken_off)
    assert caught.value.found.startswith("its list or manifest cannot be read")


def test_a_damaged_record_is_made_anew(classify, broken_off):
    folder = pathlib.Path("results.jsonl.parts")
    (folder / "part-0000000.json").write_text("{")
    (folder / "part-0000001.rows").unlink()
    assert classify("photos", model=broken_off).resumed_files == 0


def test_a_record_of_fewer_files_is_made_anew(classify, broken_off, read_rows):
    file = pathlib.Path("results.jsonl.parts/part-0000001.json")
    file.write_text(file.read_text().replace('"rows": 4', '"rows": 3'))
    assert classify("photos", model=broken_off).resumed_files == 4
    assert len(read_rows()) == 12


def test_workers_may_stand_elsewhere(classify, write_photos, monkeypatch):
    write_photos("photos", 5)
    read_files = parts.read_files

    def elsewhere(*arguments):
        os.chdir("/")
        return read_files(*arguments)

    monkeypatch.setattr(parts, "read_files", elsewhere)
    result = classify("photos")
    assert (result.images, result.unreadable) == (5, 0)


def test_damaged_rows_are_found_and_made_anew(classify, broken_off, read_rows):
    file = pathlib.Path("results.jsonl.parts/part-0000001.rows")
    file.write_bytes(file.read_bytes().replace(b"0.", b"9.", 1))
    with pytest.raises(DataError, match=r"part-0000001\.rows is damaged"):
        classify("photos", model=broken_off)
    assert not pathlib.Path("results.jsonl").exists()
    assert classify("photos", model=broken_off).resumed_files == 8
    assert all(row["score"] <= 1 for row in read_rows())


def test_a_folder_of_somebody_else_is_left_alone(classify, write_photos):
    write_photos("photos", 1)
    mine = pathlib.Path("results.jsonl.parts/mine.txt")
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(ConfigError, match="holds other files") as caught:
        classify("photos", replaces=True)
    assert caught.value.found == "mine.txt"
    assert mine.exists()


def test_one_at_a_time(classify, write_photos):
    write_photos("photos", 1)
    folder = pathlib.Path("results.jsonl.parts")
    folder.mkdir()
    with (
        filelock.FileLock(folder.resolve() / parts.LOCK_FILE),
        pytest.raises(ConfigError, match="another batch inference is writing"),
    ):
        classify("photos")
    assert classify("photos").images == 1


def test_a_full_disk_is_a_sentence(classify, write_photos, break_off):
    write_photos("photos", 12)
    mend = break_off(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ConfigError, match=r"cannot write .*: No space left on device"):
        classify("photos")
    assert not pathlib.Path("results.jsonl.parts/error.json").exists()
    mend()
    assert classify("photos").resumed_files == 8


def test_other_models_are_refused(classify, write_photos, tmp_path):
    write_photos("photos", 1)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ConfigError, match="names no classes"):
        classify("photos", model=tmp_path)
    assert leftovers() == []


def test_the_model_is_loaded_once_and_let_go(classify, write_photos, monkeypatch):
    write_photos("photos", 12)
    loads = []
    load = local_model.LocalModel.load.__func__

    def count(cls, path):
        loads.append(path)
        return load(cls, path)

    monkeypatch.setattr(local_model.LocalModel, "load", classmethod(count))
    classify("photos")
    assert len(loads) == 1


def test_progress(classify, write_photos, monkeypatch, caplog):
    write_photos("photos", 10)
    predict = local_model.LocalModel.predict_encoded

    def slowly(self, encoded, top):
        time.sleep(0.1)
        return predict(self, encoded, top)

    monkeypatch.setattr(local_model.LocalModel, "predict_encoded", slowly)
    monkeypatch.setattr(running, "PROGRESS_SECONDS", 0)
    with caplog.at_level(logging.INFO, "slimline.progress"):
        classify("photos")
    events = [
        (record.getMessage(), record.fields)
        for record in caplog.records
        if record.name == "slimline.progress"
    ]
    assert [name for name, _ in events if name != "predict"] == [
        "component_started",
        "component_finished",
    ]
    counted = [fields["images"] for _, fields in events if "images" in fields]
    assert counted == list(range(1, 11))
    steps_told = [fields["step"] for _, fields in events if "step" in fields]
    assert {4, 8} <= set(steps_told) <= {0, 4, 8, 10}
    assert steps_told == sorted(steps_told)
    (last,) = [fields for _, fields in events if "detail" in fields]
    assert last["detail"].startswith("10 images, 0 unreadable, ")
    assert last["is_good"]


def test_progress_within_a_part(classify, write_photos, monkeypatch):
    write_photos("photos", 10)
    monkeypatch.setattr(parts, "PART_FILES", 12)
    monkeypatch.setattr(steps, "NOTE_SECONDS", 0)
    seen = []
    note = parts.note

    def look(folder, part, files):
        note(folder, part, files)
        seen.append(parts.count_done(folder, [part]))

    monkeypatch.setattr(parts, "note", look)
    classify("photos")
    assert seen == [4, 8]


def test_errors_of_other_processes_are_sentences(tmp_path):
    error = ConfigError("cannot write", found="a", expected="b", tip="c")
    parts.refuse(tmp_path, error)
    told = parts.refusal(tmp_path)
    assert (type(told), told.args) == (ConfigError, error.args)
    assert parts.refusal(tmp_path) is None
    (tmp_path / "error.json").write_text("[")
    assert parts.refusal(tmp_path) is None


def test_parts_are_whole_batches():
    # Cut elsewhere, an image would round otherwise than in one call of the model.
    command = (
        "from serving import local_model; from serving.batch_inference import parts;"
        " assert parts.PART_FILES % local_model.BATCH_SIZE == 0"
    )
    subprocess.run([sys.executable, "-c", command], check=True)


def test_check_file_reads_no_more_than_it_may(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(b"0123456789")
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 5)
    assert encoding.check_file(str(path)).reason == "6 bytes, at most 5 are read"
    assert encoding.check_file("/dev/zero").reason == "not a file"
    assert encoding.check_file("nul\0").reason == "embedded null byte"
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert encoding.check_file(str(tmp_path)).reason == "not a file"
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_describe():
    result = running.Result(
        "r.csv", "m@1", 10_000, 3, "r.csv.unreadable.csv", 2, 1024, {}, 9.0, 812.4
    )
    assert running.describe(result) == (
        "10,000 images, 3 unreadable, 812 images/s, 1,024 done before,"
        " 2 other files ignored"
    )
    done = dataclasses.replace(
        result, images_per_second=None, resumed_files=0, ignored=0
    )
    assert running.describe(done) == "10,000 images, 3 unreadable"


@pytest.mark.slow
def test_killed_at_a_file_event_it_ends_as_the_unbroken_one(
    warm_forks, tmp_path, version, write_photos
):
    write_photos(tmp_path / "photos", 10)
    (tmp_path / "photos" / "bad.png").write_text("no image")
    command = [KILL_SCRIPT, version, tmp_path / "photos", tmp_path, KILL_POINTS]
    done = warm_forks.run(["python", *map(str, command)], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    unbroken, *resumed = map(json.loads, done.stdout.splitlines())
    assert list(unbroken["files"]) == ["results.csv", "results.csv.unreadable.csv"]
    assert len(unbroken["files"]["results.csv"].splitlines()) == 11
    assert len(resumed) == KILL_POINTS
    for told in resumed:
        assert told["was_killed"], told["point"]
        # Once the output is there and its job forgotten, the second start is refused.
        assert told["code"] == told["is_complete"], done.stderr[-3000:]
        # What is left is the same, and nothing else.
        assert told["files"] == unbroken["files"], told["point"]
    counts = [told["resumed_files"] for told in resumed if not told["is_complete"]]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 11)
    assert resumed[-1]["is_complete"]
