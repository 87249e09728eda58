import time

from common import huge_pages
from trainer import hooks


def test_huge_pages_are_for_trainings_that_last(monkeypatch) -> None:
    clock = [100.0]
    asked: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(huge_pages, "use", lambda: asked.append(clock[0]))
    hook = hooks.HugePagesHook()
    for clock[0] in (101.0, 219.0, 221.0, 222.0, 701.0, 702.0, 9999.0):
        hook.after_run(None, None)
    assert asked == [221.0, 701.0]
