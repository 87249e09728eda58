"""What follows an update: Lookahead and the moving average, by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from trainer import averages
from trainer.config import TrainConfig
from trainer.plan import Plan

v1 = tf.compat.v1

PLAN = Plan(steps_per_epoch=4, total_steps=14, measure_steps=5)
START = np.array([1.0, -2.0, 0.5], np.float32)
STILL = np.array([0.1, 0.3], np.float32)
TRAIN = TrainConfig(ema_decay=0.0)


def run(train, overflows=(), plan=PLAN):
    """After each step: weights, slow weights, average. The n-th update adds sin(n + w)."""
    rows = []
    with tf.Graph().as_default(), v1.Session() as session:
        weights = slim.model_variable("net/w", initializer=tf.constant(START))
        still = slim.model_variable("net/still", initializer=tf.constant(STILL))
        step = v1.train.get_or_create_global_step()
        is_applied = v1.placeholder(tf.bool, [])
        change = tf.sin(tf.cast(step, tf.float32) + weights)
        change *= tf.cast(is_applied, tf.float32)
        with tf.control_dependencies([change]):
            updates = [
                weights.assign_add(change, read_value=False),
                step.assign_add(1, read_value=False),
            ]
        with tf.control_dependencies(updates):
            value = tf.constant(7.0)
        op = averages.after(value, train, plan, step, is_applied if overflows else None)
        names = {each.op.name: each for each in v1.global_variables()}
        shown = [
            names.get(f"net/w{name}", weights)
            for name in ("", "/Lookahead", "/ExponentialMovingAverage")
        ]
        session.run(v1.global_variables_initializer())
        for number in range(1, plan.total_steps + 1):
            fed = {is_applied: number not in overflows}
            assert session.run(op, fed) == 7
            rows.append(session.run(shown))
        np.testing.assert_array_equal(session.run(still), STILL)
    return rows


def expected(train, overflows=(), plan=PLAN):
    """The same by the definitions, in double precision."""
    fast, slow, average = (START.astype(np.float64) for _ in range(3))
    rows = []
    every = train.lookahead_steps
    start = train.lookahead_start_epochs * plan.steps_per_epoch
    first = every and int(np.ceil(start / every)) * every
    for number in range(1, plan.total_steps + 1):
        is_applied = number not in overflows
        if is_applied:
            fast = fast + np.sin(number - 1 + fast)
        if every:
            is_due = number % every == 0 and is_applied
            is_measured = number % plan.measure_steps == 0 or number == plan.total_steps
            if is_due and number <= first:
                slow = fast
            elif is_due:
                progress = number / plan.total_steps
                share = train.lookahead_decay**every * progress**train.lookahead_power
                slow = share * slow + (1 - share) * fast
            if number > first and (is_due or is_measured):
                fast = slow
        if train.ema_decay and number % train.ema_every_steps == 0 and is_applied:
            decay = min(train.ema_decay, (1 + number) / (10 + number))
            decay **= train.ema_every_steps
            average = decay * average + (1 - decay) * fast
        rows.append((fast, slow, average))
    return rows


def compare(train, overflows=()):
    found, wanted = run(train, overflows), expected(train, overflows)
    for number, (row, values) in enumerate(zip(found, wanted, strict=True), 1):
        np.testing.assert_allclose(row[0], values[0], atol=1e-5, err_msg=str(number))
        if train.lookahead_steps:
            np.testing.assert_allclose(row[1], values[1], atol=1e-5)
        if train.ema_decay:
            np.testing.assert_allclose(row[2], values[2], atol=1e-5)
    return found


@pytest.mark.parametrize("ema_decay", [0.0, 0.6])
@pytest.mark.parametrize(
    "changes",
    [
        {"lookahead_steps": 3, "lookahead_start_epochs": 1.0},  # from step 6
        {"lookahead_steps": 3, "lookahead_start_epochs": 0.75, "lookahead_power": 1.0},
        {"lookahead_steps": 1, "lookahead_start_epochs": 0.0},
    ],
)
def test_slow_weights_take_a_growing_share(changes, ema_decay):
    found = compare(dataclasses.replace(TRAIN, ema_decay=ema_decay, **changes))
    # What is measured are the slow weights: at the fifth steps and at the end.
    for number in (10, 14):
        np.testing.assert_array_equal(found[number - 1][0], found[number - 1][1])


def test_a_share_that_stays_is_the_algorithm_of_the_paper():
    """Slow weights begin as the first weights, and half of the way is taken."""
    train = dataclasses.replace(
        TRAIN,
        lookahead_steps=2,
        lookahead_decay=0.5**0.5,
        lookahead_power=0.0,
        lookahead_start_epochs=0.0,
    )
    plan = dataclasses.replace(PLAN, measure_steps=14)
    fast = slow = START.astype(np.float64)
    for number in range(14):
        fast = fast + np.sin(number + fast)
        if number % 2:
            fast = slow = slow + 0.5 * (fast - slow)
    np.testing.assert_allclose(run(train, plan=plan)[-1][0], fast, atol=1e-5)


def test_before_its_start_lookahead_leaves_the_weights_alone():
    plain = run(TRAIN)
    train = dataclasses.replace(TRAIN, lookahead_steps=3, lookahead_start_epochs=2.0)
    for one, two in zip(plain[:9], run(train)[:9], strict=True):
        np.testing.assert_array_equal(one[0], two[0])


@pytest.mark.parametrize("every", [1, 2, 5])
def test_an_average_that_moves_rarely_moves_by_as_much(every):
    compare(dataclasses.replace(TRAIN, ema_decay=0.8, ema_every_steps=every))


def test_an_average_of_weights_that_stay_does_not_depend_on_how_often_it_moves():
    """Ten steps with the decay d, or two with d^5, are the same then."""
    decay, start, weights = 0.9, 1.0, 3.0
    once = start
    for _ in range(10):
        once = decay * once + (1 - decay) * weights
    rare = start
    for _ in range(2):
        rare = decay**5 * rare + (1 - decay**5) * weights
    assert rare == pytest.approx(once)


def test_what_follows_an_update_that_was_left_out_is_left_out():
    train = dataclasses.replace(
        TRAIN, ema_decay=0.8, lookahead_steps=3, lookahead_start_epochs=0.5
    )
    # One that starts Lookahead, one that is due, and two that are neither.
    overflows = (1, 3, 9, 11)
    found = compare(train, overflows)
    for number in overflows[1:]:
        for before, after in zip(found[number - 2], found[number - 1], strict=True):
            np.testing.assert_array_equal(before, after)


def test_lookahead_needs_the_length_of_the_training():
    train = dataclasses.replace(TRAIN, lookahead_steps=3)
    with pytest.raises(ValueError, match="`plan`"):
        averages.after(tf.constant(0.0), train, None, tf.Variable(0), None)
