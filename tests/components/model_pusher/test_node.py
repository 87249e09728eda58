"""Words about a pushed version follow what is served, not what was pushed last."""

import pathlib

import pytest

from components.model_pusher import node as pushed
from pushed_models import models_config, version_history
from pushed_models.models_config import Entry


@pytest.fixture
def cats(tmp_path: pathlib.Path) -> pathlib.Path:
    """Versions 5, 6 and 7."""
    folder = tmp_path / "serving" / "cats"
    for version in ("5", "6", "7"):
        (folder / version).mkdir(parents=True)
        (folder / version / "saved_model.pb").touch()
    return folder


def test_the_live_version_names_the_one_to_go_back_to(cats) -> None:
    assert pushed.in_short(cats / "7") == (
        "version 7 is live · version 6 kept for rollback"
    )
    assert pushed.in_short(cats / "7", " in cats/7") == (
        "version 7 is live in cats/7 · version 6 kept for rollback"
    )
    row = version_history.now("push", 7, 5)
    version_history.append(cats, row)
    assert pushed.previous(cats / "7") == 5
    assert pushed.in_short(cats / "7").endswith("version 5 kept for rollback")


def test_the_first_version_has_none(cats) -> None:
    models_config.write(cats.parent, {"cats": Entry((5,), {"stable": 5})})
    assert pushed.in_short(cats / "5") == "version 5 is live"
    assert pushed.previous(cats / "5") is None


def test_a_version_that_is_not_live_any_more(cats) -> None:
    models_config.write(cats.parent, {"cats": Entry((6,), {"stable": 6})})
    assert not pushed.is_live(cats / "7")
    assert pushed.previous(cats / "7") is None
    assert pushed.in_short(cats / "7") == (
        "version 7 was pushed before, version 6 is live"
    )


def test_a_version_of_a_model_that_is_gone(tmp_path) -> None:
    assert pushed.in_short(tmp_path / "cats" / "7") == "version 7 was pushed"
