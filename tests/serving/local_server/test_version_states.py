"""Who answers, what is loaded next, what may go: decisions without any model."""

import grpc
import pytest

from serving.local_server import errors, version_states
from serving.local_server.version_states import AVAILABLE, END, LOADING, Version
from serving.local_server.wanted_versions import GONE, Wanted
from serving.model_spec import ModelSpec


def pinned(*versions, **labels):
    there = dict.fromkeys(versions)
    return Wanted(there, versions, is_pinned=True, labels=labels)


def newest(*versions):
    there = sorted(versions, reverse=True)
    return Wanted(dict.fromkeys(there), tuple(there))


def model(wanted, **states):
    """States by version: v7=AVAILABLE, v8='refused'."""
    made = version_states.ModelVersions("cats", wanted)
    for name, state in states.items():
        number = int(name[1:])
        made.versions[number] = (
            Version(number, END, "damaged", grpc.StatusCode.DATA_LOSS)
            if state == "refused"
            else Version(number, state)
        )
    return made


def change(made, wanted, **states):
    made.wanted = wanted
    for name, state in states.items():
        number = int(name[1:])
        made.versions.setdefault(number, Version(number, state)).state = state
    return [version.number for version in made.settle()]


def test_the_newest_sound_version_is_due():
    assert model(newest(7, 8, 9)).due() == 9
    assert model(newest(7, 8, 9), v9="refused").due() == 8
    assert model(newest(7, 8), v8=AVAILABLE).due() is None
    assert model(newest(7, 8), v7=AVAILABLE, v8=LOADING).due() is None
    assert model(newest(7, 8), v7=AVAILABLE, v8="refused").due() is None
    assert model(newest(7, 8), v7="refused", v8="refused").due() is None


def test_of_pins_all_are_due_stable_first():
    made = model(pinned(3, 9, stable=3))
    assert made.due() == 3
    made.versions[3] = Version(3, AVAILABLE)
    assert made.due() == 9
    assert model(pinned(3, 9), v3="refused", v9=AVAILABLE).due() is None


def test_the_old_one_goes_when_the_new_one_answers():
    made = model(newest(7), v7=AVAILABLE)
    assert change(made, newest(7, 8), v8=LOADING) == []
    assert made.live == 7
    assert change(made, newest(7, 8), v8=AVAILABLE) == [7]
    assert made.live == 8


def test_a_refused_one_leaves_the_old_one():
    made = model(newest(7, 8), v7=AVAILABLE, v8="refused")
    assert list(made.settle()) == []
    assert made.live == 7


def test_nothing_steps_in_for_a_stable_version_that_was_refused():
    wanted = pinned(7, 8, stable=7, canary=8)
    made = model(wanted, v7="refused", v8=AVAILABLE)
    assert list(made.settle()) == []
    assert made.live is None
    with pytest.raises(errors.Unavailable):
        made.find(ModelSpec("cats"))
    assert made.find(ModelSpec("cats", label="canary")) is made.versions[8]


def test_stable_is_live_and_canary_beside_it():
    made = model(pinned(7, 8, stable=7, canary=8), v7=AVAILABLE, v8=AVAILABLE)
    assert list(made.settle()) == []
    assert made.live == 7
    assert made.find(ModelSpec("cats", label="canary")) is made.versions[8]
    assert made.find(ModelSpec("cats", 8)) is made.versions[8]
    # Promoted: both are in memory, so it takes no time.
    assert change(made, pinned(8, 7, stable=8)) == []
    assert made.live == 8
    with pytest.raises(errors.BadRequest):
        made.find(ModelSpec("cats", label="canary"))


def test_a_label_moves_when_its_version_answers():
    made = model(pinned(7, stable=7), v7=AVAILABLE)
    made.settle()
    assert change(made, pinned(9, stable=9), v9=LOADING) == []
    assert made.live == 7
    assert made.find(ModelSpec("cats", label="stable")) is made.versions[7]
    assert change(made, pinned(9, stable=9), v9=AVAILABLE) == [7]
    assert made.live == 9


def test_a_rollback_goes_back_when_the_older_one_answers():
    made = model(newest(7, 8), v8=AVAILABLE)
    made.settle()
    assert change(made, pinned(7, stable=7), v7=LOADING) == []
    # Asked for, but not there yet: 8 goes on.
    assert made.live == 8
    assert change(made, pinned(7, stable=7), v7=AVAILABLE) == [8]
    assert made.live == 7


def test_while_a_pin_is_refused_nobody_loses_a_version():
    made = model(pinned(5, 6, stable=5, canary=6), v5=AVAILABLE, v6=AVAILABLE)
    made.settle()
    made.versions[7] = model(newest(7), v7="refused").versions[7]
    assert change(made, pinned(5, 7, stable=5, canary=7)) == []
    assert made.find(ModelSpec("cats", label="canary")) is made.versions[6]


def test_versions_that_come_faster_than_they_load_have_their_turn():
    made = model(newest(6, 7, 8), v6=AVAILABLE, v7=LOADING)
    assert change(made, newest(6, 7, 8), v7=AVAILABLE) == [6]
    assert made.live == 7
    # A version that is no longer wanted once it has loaded is unloaded at once.
    made = model(pinned(6, stable=6), v6=AVAILABLE, v8=AVAILABLE)
    assert [version.number for version in made.settle()] == [8]
    assert made.live == 6


def test_a_model_that_is_gone_keeps_nothing():
    assert [one.number for one in model(GONE, v7=AVAILABLE).settle()] == [7]


def test_a_model_without_any_version_left_keeps_its_last():
    made = model(newest(7), v7=AVAILABLE)
    assert change(made, newest()) == []
    assert made.live == 7


def test_a_version_by_number_must_answer():
    made = model(newest(7, 8), v7=AVAILABLE, v8=LOADING)
    with pytest.raises(errors.NotFound):
        made.find(ModelSpec("cats", 8))
    with pytest.raises(errors.NotFound):
        made.find(ModelSpec("cats", 99))
    loading = model(newest(7), v7=LOADING)
    assert list(loading.settle()) == []
    with pytest.raises(errors.Unavailable):
        loading.find(ModelSpec("cats"))


def test_statuses_come_newest_first_with_the_reason():
    made = model(newest(7, 8), v7=AVAILABLE, v8="refused")
    found = made.statuses(ModelSpec("cats"))
    assert [(one.number, one.state, one.code.name) for one in found] == [
        (8, END, "DATA_LOSS"),
        (7, AVAILABLE, "OK"),
    ]
    assert found[0].error == "damaged"
    assert made.statuses(ModelSpec("cats", 7)) == [found[1]]
    with pytest.raises(errors.NotFound):
        made.statuses(ModelSpec("cats", 9))
    with pytest.raises(errors.BadRequest):
        made.statuses(ModelSpec("cats", label="stable"))
    with pytest.raises(errors.NotFound, match="Could not find any versions"):
        model(newest()).statuses(ModelSpec("cats"))


def test_a_version_that_is_named_but_not_there_has_a_status():
    wanted = Wanted({7: None}, (7,), True, labels={"canary": 8}, missing=(8,))
    found = model(wanted, v7=AVAILABLE).statuses(ModelSpec("cats", label="canary"))
    assert [(one.number, one.state, one.code.name) for one in found] == [
        (8, END, "NOT_FOUND")
    ]
