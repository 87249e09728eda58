import pytest
import tensorflow as tf

from schema import errors
from trainer import schedules

# step -> rate for a peak of 0.4 after 10 updates and zero after 110, computed by hand:
# the ramp is 0.04 a step; a quarter of the cosine is 0.2 * (1 + sqrt(0.5)).
WARMUP_COSINE = {
    0: 0.0,
    1: 0.04,
    5: 0.2,
    10: 0.4,
    35: 0.341421,
    60: 0.2,
    85: 0.058579,
    110: 0.0,
    1000: 0.0,
}


def evaluate(name, step, **arguments):
    with tf.Graph().as_default():
        rate = schedules.find(name)(tf.constant(step, tf.int64), **arguments)
        assert rate.dtype == tf.float32
        assert rate.shape == ()
        with tf.compat.v1.Session() as session:
            return session.run(rate)


@pytest.mark.parametrize("step", [0, 1, 10**9])
def test_constant_is_constant(step):
    assert evaluate("constant", step, base_rate=0.25) == 0.25


@pytest.mark.parametrize("step", WARMUP_COSINE)
def test_warmup_cosine_golden_values(step):
    rate = evaluate(
        "warmup_cosine", step, base_rate=0.4, warmup_steps=10, total_steps=110
    )
    assert rate == pytest.approx(WARMUP_COSINE[step], abs=1e-6)


def test_without_warmup_the_first_rate_is_the_peak():
    arguments = {"base_rate": 0.4, "warmup_steps": 0, "total_steps": 100}
    assert evaluate("warmup_cosine", 0, **arguments) == pytest.approx(0.4)
    assert evaluate("warmup_cosine", 50, **arguments) == pytest.approx(0.2)


def test_follows_the_global_step():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = tf.compat.v1.train.get_or_create_global_step()
        rate = schedules.warmup_cosine(
            step, base_rate=1.0, warmup_steps=4, total_steps=8
        )
        advance = step.assign_add(1)
        session.run(tf.compat.v1.global_variables_initializer())
        rates = [session.run(rate)]
        for _ in range(4):
            session.run(advance)
            rates.append(session.run(rate))
    assert rates == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(10, 10), (-1, 10)])
def test_refuses_a_ramp_that_does_not_fit(warmup_steps, total_steps):
    with pytest.raises(
        ValueError, match=f"total_steps={total_steps}, warmup_steps={warmup_steps}"
    ):
        evaluate(
            "warmup_cosine",
            0,
            base_rate=0.1,
            warmup_steps=warmup_steps,
            total_steps=total_steps,
        )


def test_unknown_name_names_the_nearest():
    with pytest.raises(
        errors.ConfigError, match="did you mean 'warmup_cosine'"
    ) as info:
        schedules.find("warmup_cosin")
    assert info.value.expected == "one of constant, warmup_cosine"
