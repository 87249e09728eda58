"""The queue before a version: bounded, in order, nobody pays for a neighbour."""

import asyncio
import threading
import time

import numpy as np
import pytest

from serving.local_server import errors
from serving.local_server.batching import Batcher

BAD = b"bad"


class FakeRun:
    """Answers the length of each input; can be held, and refuses bad inputs."""

    def __init__(self):
        self.batches = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.is_running = threading.Event()

    def __call__(self, signature_name, tensors):
        inputs = tensors["x"].tolist()
        self.is_running.set()
        assert self.may_run.wait(10)
        self.batches.append((signature_name, list(inputs)))
        if BAD in inputs:
            raise errors.InvalidInput("no image")
        return {"lengths": np.array([len(one) for one in inputs])}

    async def hold(self, batcher):
        """Lets one request occupy the runner; the task waits for its answer."""
        self.may_run.clear()
        self.is_running.clear()
        task = asyncio.create_task(ask(batcher, [b"first"]))
        await asyncio.to_thread(self.is_running.wait, 10)
        return task


@pytest.fixture
def fake():
    return FakeRun()


async def ask(batcher, inputs, deadline=None, name="s"):
    tensors = {"x": np.array([*inputs, None], object)[:-1]}
    return await batcher.run(name, tensors, deadline, rows=len(inputs))


def with_batcher(run, scenario, **settings):
    """Runs a coroutine function with a batcher; closes it."""
    settings = {"max_batch_size": 4, "max_queue": 8, **settings}

    async def main():
        batcher = Batcher(run, **settings)
        try:
            await asyncio.wait_for(scenario(batcher), 20)
        finally:
            await batcher.close()

    asyncio.run(main())


async def outcomes(tasks):
    return await asyncio.gather(*tasks, return_exceptions=True)


def sizes(fake):
    return [len(inputs) for _, inputs in fake.batches]


def test_what_comes_in_one_moment_is_one_batch(fake):
    async def ask_late(batcher, length):
        time.sleep(
            0.01
        )  # as the loop is busy with other things, which lets threads run
        return await ask(batcher, [b"a" * length])

    async def scenario(batcher):
        answers = await asyncio.gather(
            *(ask_late(batcher, length) for length in range(1, 5))
        )
        assert [answer["lengths"].tolist() for answer in answers] == [
            [1],
            [2],
            [3],
            [4],
        ]

    with_batcher(fake, scenario)
    assert sizes(fake) == [4]


def test_what_waits_goes_together_and_in_order(fake):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        others = [
            asyncio.create_task(ask(batcher, [b"a" * length])) for length in range(1, 7)
        ]
        await asyncio.sleep(0.01)
        fake.may_run.set()
        answers = await asyncio.gather(first, *others)
        assert [answer["lengths"][0] for answer in answers] == [5, 1, 2, 3, 4, 5, 6]
        assert batcher.batch_sizes == {1: 1, 4: 1, 2: 1}

    with_batcher(fake, scenario)
    assert [len(one) for _, inputs in fake.batches for one in inputs] == [
        *[5, 1, 2, 3, 4, 5, 6]
    ]


def test_a_batch_has_one_signature_and_the_oldest_goes_first(fake):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        others = [
            asyncio.create_task(ask(batcher, [b"x"], name=name)) for name in "tstts"
        ]
        await asyncio.sleep(0.01)
        fake.may_run.set()
        await asyncio.gather(first, *others)

    with_batcher(fake, scenario)
    assert [(name, len(inputs)) for name, inputs in fake.batches] == [
        ("s", 1),
        ("t", 3),
        ("s", 2),
    ]


def test_requests_of_several_inputs_stay_whole_and_large_ones_are_split(fake):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        three = asyncio.create_task(ask(batcher, [b"aaa"] * 3))
        two = asyncio.create_task(ask(batcher, [b"aa"] * 2))
        await asyncio.sleep(0.01)
        fake.may_run.set()
        assert (await three)["lengths"].tolist() == [3, 3, 3]
        assert (await two)["lengths"].tolist() == [2, 2]
        await first
        many = [b"a" * length for length in range(1, 11)]
        answer = await ask(batcher, many)
        assert answer["lengths"].tolist() == list(range(1, 11))

    with_batcher(fake, scenario)
    assert sizes(fake) == [1, 3, 2, 4, 4, 2]


def test_a_full_queue_is_a_refusal(fake):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        waiting = [asyncio.create_task(ask(batcher, [b"x"] * 4)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(errors.Unavailable):
            await ask(batcher, [b"x"])
        fake.may_run.set()
        await asyncio.gather(first, *waiting)
        # There is room again, for a request that is larger than the queue, too.
        assert len((await ask(batcher, [b"x"] * 20))["lengths"]) == 20

    with_batcher(fake, scenario)


def test_who_is_late_is_told_and_not_run(fake):
    async def scenario(batcher):
        loop = asyncio.get_running_loop()
        first = await fake.hold(batcher)
        late = asyncio.create_task(ask(batcher, [b"late"], loop.time() + 0.05))
        in_time = asyncio.create_task(ask(batcher, [b"in time"], loop.time() + 60))
        with pytest.raises(errors.DeadlineExceeded):
            await late
        assert not in_time.done()  # told at once, not when the runner is free
        fake.may_run.set()
        assert (await in_time)["lengths"].tolist() == [7]
        await first
        with pytest.raises(errors.DeadlineExceeded):
            await ask(batcher, [b"late"], loop.time() - 1)

    with_batcher(fake, scenario)
    assert [inputs for _, inputs in fake.batches] == [[b"first"], [b"in time"]]


async def when_there_is_room(batcher, inputs):
    """Those who have gone count until the runner comes by."""
    while True:
        try:
            return await ask(batcher, inputs)
        except errors.Unavailable:
            await asyncio.sleep(0.01)


def test_who_has_gone_is_not_run(fake):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        gone = asyncio.create_task(ask(batcher, [b"gone"] * 4))
        await asyncio.sleep(0.01)
        gone.cancel()
        fake.may_run.set()
        await outcomes([first, gone])
        assert len((await when_there_is_room(batcher, [b"x"] * 8))["lengths"]) == 8

    with_batcher(fake, scenario)
    assert all(b"gone" not in inputs for _, inputs in fake.batches)


@pytest.mark.parametrize("bad_place", range(7))
def test_a_bad_input_fails_alone(fake, bad_place):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        inputs = [BAD if place == bad_place else b"x" * place for place in range(7)]
        tasks = [asyncio.create_task(ask(batcher, [one])) for one in inputs]
        await asyncio.sleep(0.01)
        fake.may_run.set()
        found = await outcomes(tasks)
        await first
        for place, answer in enumerate(found):
            if place == bad_place:
                assert isinstance(answer, errors.InvalidInput)
                assert answer.text == "instance 0: the model cannot read it"
            else:
                assert answer["lengths"].tolist() == [place]

    with_batcher(fake, scenario, max_batch_size=8)
    good = [inputs for _, inputs in fake.batches if BAD not in inputs]
    # Each good one was computed once.
    assert sorted(len(one) for inputs in good for one in inputs if one != b"first") == [
        place for place in range(7) if place != bad_place
    ]


def test_the_place_of_a_bad_input_is_told(fake):
    async def scenario(batcher):
        for place in (0, 3, 4, 9):
            inputs = [BAD if one == place else b"x" for one in range(10)]
            with pytest.raises(errors.InvalidInput) as caught:
                await ask(batcher, inputs)
            assert caught.value.text == f"instance {place}: the model cannot read it"

    with_batcher(fake, scenario, max_queue=20)


def test_a_model_that_fails_is_an_internal_error_without_details():
    def run(signature_name, inputs):
        raise RuntimeError("/secret/path")

    async def scenario(batcher):
        found = await outcomes([ask(batcher, [b"x"]) for _ in range(3)])
        assert [type(one) for one in found] == [errors.ServerError] * 3
        assert "secret" not in found[0].text

    with_batcher(run, scenario)


def test_an_output_of_another_length_is_no_answer():
    async def scenario(batcher):
        with pytest.raises(errors.ServerError, match="Internal error"):
            await ask(batcher, [b"x", b"y"])

    with_batcher(lambda name, inputs: {"one": np.zeros(1)}, scenario)


def test_closing_answers_what_waits_and_takes_no_more(fake):
    async def scenario(batcher):
        first = await fake.hold(batcher)
        waiting = [asyncio.create_task(ask(batcher, [b"x"])) for _ in range(6)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        with pytest.raises(errors.Unavailable):
            await ask(batcher, [b"x"])
        fake.may_run.set()
        await closing
        answers = await asyncio.gather(first, *waiting)
        assert len(answers) == 7

    with_batcher(fake, scenario)


def test_requests_of_other_shapes_and_without_rows_are_not_joined():
    calls = []

    def run(signature_name, tensors):
        calls.append(tensors["x"].shape)
        return {"y": tensors["x"] * 2}

    async def scenario(batcher):
        shapes = [(1, 2), (2, 2), (1, 3), (), (4,), (1, 2)]
        found = await asyncio.gather(
            *(
                batcher.run(
                    "s",
                    {"x": np.ones(shape, np.float32)},
                    rows=shape[0] if len(shape) == 2 else None,
                )
                for shape in shapes
            )
        )
        assert [one["y"].shape for one in found] == shapes
        assert all((one["y"] == 2).all() for one in found)

    with_batcher(run, scenario)
    assert sorted(calls) == [(), (1, 3), (4,), (4, 2)]
