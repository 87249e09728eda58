"""What a notebook shows of a run."""

import contextlib
import logging
import re
import sys
import types

import IPython
import pytest

import slimline as sl
from slimline import notebook, session

EVENTS = [
    ("component_started", {"component": "train"}),
    ("train", {"step": 50, "total_steps": 100, "epoch": 1.0, "loss": 0.25}),
    ("train_eval", {"top_1": 0.875}),
    ("train", {"step": 100, "total_steps": 100, "epoch": 2.0, "loss": 0.125}),
    ("component_finished", {"component": "train", "detail": "<best> at 100"}),
]


@pytest.fixture
def drawn():
    return []


def share(text):
    return float(re.search(r'value="([\d.]+)"', text)[1])


def test_bar_shows_how_far_a_run_is(drawn):
    times = iter(range(100))
    bar = notebook.Bar("calm-otter", drawn.append, lambda: next(times))
    for name, fields in EVENTS:
        bar.event(name, fields)
    bar.finish()
    place = notebook.STEPS.index("train")
    count = len(notebook.STEPS)
    shares = [0, 0, 0.5, 0.5, 0.99, 1, 1]
    expected = [0.0, *(place + each for each in shares[1:-1]), count]
    assert list(map(share, drawn)) == pytest.approx(
        [each / count for each in expected], abs=1e-3
    )
    assert "calm-otter" in drawn[0] and "loading" in drawn[0]
    assert "loss 0.250" in drawn[2] and "eval" not in drawn[2]
    assert "loss 0.125" in drawn[4] and "eval 0.875" in drawn[4]
    assert "&lt;best&gt; at 100" in drawn[5]


def test_bar_is_not_redrawn_for_every_event(drawn):
    bar = notebook.Bar("calm-otter", drawn.append, lambda: 0.0)
    bar.event(*EVENTS[0])
    for _ in range(50):
        bar.event(*EVENTS[1])
    assert len(drawn) == 2


@pytest.fixture
def cell(monkeypatch):
    """What IPython in a kernel was told to show: (HTML, place, whether it replaces)."""
    shown = []

    def publish(data, metadata=None, *, transient=None, update=False):
        shown.append((data["text/html"], transient["display_id"], update))

    publisher = types.SimpleNamespace(publish=publish)
    shell = types.SimpleNamespace(kernel=object(), display_pub=publisher)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    yield shown
    assert shell.display_pub is publisher


def test_a_run_in_a_notebook_has_one_bar_and_its_log(cell, tmp_path, capsys):
    with notebook.shown(tmp_path) as listener:
        for name, fields in EVENTS:
            listener(name, fields)
        print("a library", file=sys.stderr)
        # As Beam does with a script.
        IPython.get_ipython().display_pub.publish({"application/javascript": "load()"})
    texts, places, are_updates = zip(*cell, strict=True)
    assert len(set(places)) == 1
    assert are_updates == (False, *[True] * (len(cell) - 1))
    assert "finished" in texts[-1] and share(texts[-1]) == 1
    assert capsys.readouterr() == ("", "")
    assert "a library" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_a_run_that_breaks_off_leaves_its_bar_where_it_was(cell, tmp_path):
    with pytest.raises(OSError, match="disk"), notebook.shown(tmp_path) as listener:
        listener(*EVENTS[0])
        raise OSError("disk on fire")
    assert "train" in cell[-1][0] and share(cell[-1][0]) < 1


def test_a_step_that_is_not_known_does_not_move_the_bar(drawn):
    bar = notebook.Bar("calm-otter", drawn.append, lambda: 0.0)
    bar.event("component_started", {"component": "polish"})
    assert share(drawn[-1]) == 0 and "polish" in drawn[-1]


def test_elsewhere_nothing_is_shown_or_redirected(monkeypatch, tmp_path, capsys):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with notebook.shown(tmp_path) as listener:
        print("mine")
    assert listener is None
    assert capsys.readouterr().out == "mine\n"
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def handled(level):
    """A program's own handler of all its logs, from `level` up."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield records
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def ignore(name, fields):
    """A listener that does nothing."""


@pytest.mark.parametrize(
    ("level", "expected"),
    [(logging.WARNING, ["careful"]), (logging.INFO, ["step", "careful"])],
)
def test_a_run_tells_the_program_what_it_asked_for(level, expected, tmp_path):
    with handled(level) as records, session.watched(tmp_path, ignore, False):
        logging.getLogger("slimline.progress").info("step")
        logging.getLogger("slimline.run").warning("careful")
    assert [record.getMessage() for record in records] == expected
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "step" in log and "careful" in log


def test_dir_lists_the_api_and_no_more():
    assert dir(sl) == sorted(sl.__all__)
    for name in sl.__all__:
        assert getattr(sl, name)
    assert re.match(r"\d+\.\d+", sl.__version__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sl.nothing  # noqa: B018
