"""Images between two steps of the job, in files."""

import itertools
import pickle

import numpy as np

from components.image_example_gen import (
    beam_job,
    layouts,
    records,
    spans,
    spool,
    windows,
)


def test_images_come_back_from_their_places(tmp_path) -> None:
    images = [b"first", b"", b"third" * 1000]
    places = []
    for batch in (images, images[::-1]):
        writer = spool.Writer(str(tmp_path))
        places += [writer.add(encoded) for encoded in batch]
        writer.close()
    assert places[1] == (places[0].file, 5, 0)
    assert places[2] == (places[0].file, 5, 5000)
    assert places[3].file != places[0].file
    with spool.Reader(str(tmp_path)) as stored:
        found = [stored.read(*place) for place in reversed(places)]
    assert found[::-1] == [*images, *images[::-1]]


def test_a_batch_without_images_leaves_no_file(tmp_path) -> None:
    spool.Writer(str(tmp_path)).close()
    assert not list(tmp_path.iterdir())


def found_by(step, *elements) -> list:
    step.setup()
    return [given for element in elements for given in step.process(element)]


def test_what_is_found_comes_in_lists_of_bounded_size(
    fakes, tmp_path, monkeypatch, job_of
) -> None:
    folder = fakes.class_folders(tmp_path / "pets", per_class=10, suffix=".bmp")
    job = job_of(layouts.plan(str(folder)))
    (unit,) = job.plan.units
    (all_of_them,) = found_by(beam_job._ReadParts(job), unit)
    assert len(all_of_them) == 20
    size = len(all_of_them[0].data)
    monkeypatch.setattr(beam_job, "BATCH_BYTES", 6 * size)
    lists = found_by(beam_job._ReadParts(job), unit)
    assert [len(found) for found in lists] == [6, 6, 6, 2]
    assert list(itertools.chain(*lists)) == all_of_them
    monkeypatch.setattr(beam_job, "BATCH_IMAGES", 4)
    assert [len(each) for each in found_by(beam_job._ReadParts(job), unit)] == [
        *[4] * 5,
        0,
    ]


def test_an_archive_s_images_travel_without_bytes(fakes, tmp_path, job_of) -> None:
    pixels = fakes.pixels([0, 1], 6, 5, 3)
    found = [
        records.PixelBatch("train", "a.bin", 0, np.array([0, 1]), ("x", "y"), pixels),
        records.ImageFile("", "cat/1.png", "cat", b"encoded", "pets/cat/1.png"),
        records.Ignored("readme"),
    ]
    job = job_of(layouts.plan(str(fakes.class_folders(tmp_path / "pets"))))
    (light,) = found_by(beam_job._StoreImages(job), found)
    assert [item.pixels.nbytes for item, _ in light[:1]] == [0]
    assert light[1][0].data == b""
    (whole,) = found_by(beam_job._FetchImages(job), light)
    np.testing.assert_array_equal(whole[0].pixels, pixels)
    assert whole[1:] == found[1:]


def test_steps_hold_no_names_of_files(fakes, tmp_path) -> None:
    """Of a million files they would be copied with each step of the job."""
    sizes = {}
    for per_class in (10, 200):
        folder = fakes.class_folders(tmp_path / f"pets{per_class}", per_class=per_class)
        (folder / "notes.txt").write_text("of no class")
        plan = layouts.plan(str(folder))
        reader = plan.reader()
        sizes[per_class] = len(pickle.dumps(reader))
        for unit in plan.units:
            assert list(reader.read(unit)) == list(plan.read(unit))
    assert sizes[200] - sizes[10] < 100
    assert len(pickle.dumps(plan)) > sizes[200] + 400 * len("cat/image_0001.png")


def test_readers_of_a_window_read_its_parts(fakes, tmp_path) -> None:
    for span in ("1", "2"):
        fakes.class_folders(tmp_path / span, per_class=4)
    window = windows.plan(spans.resolve(str(tmp_path / "{SPAN}"), window=2))
    assert window.reader().units == ()
    found = [list(window.read(unit)) for unit in window.units]
    assert [list(window.reader().read(unit)) for unit in window.units] == found
