"""A scheduler that stays: looks, waits, looks again."""

import datetime
import logging
from collections.abc import Callable

from pipeline.scheduling.clock import Clock, in_words
from pipeline.scheduling.controller import AGAIN_SECONDS, Controller, Look
from schema.errors import ConfigError

# The clock may be set, or the machine sleep: so long at most between two looks at it.
NAP_SECONDS = 30.0
_LOGGER = logging.getLogger("slimline.schedule")


def serve(
    make_controller: Callable[[], Controller],
    clock: Clock,
    *,
    every_seconds: float,
    listener: Callable[[Look, datetime.datetime], None],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Looks at a schedule until it is over, which by itself it never is.

    Args:
      make_controller: called for each look: settings are read anew.
      clock: the time.
      every_seconds: between two looks for a new span.
      listener: takes what a look came to, and when the next one is.
      is_over: asked before each look.
    """
    while not is_over():
        try:
            controller = make_controller()
            look = controller.tick()
            moment = controller.next_look(look, every_seconds)
        except ConfigError as error:
            # A ledger that is locked, a file of settings that is being edited.
            _LOGGER.error("%s", error)
            look = Look(waits_for=error.message, is_soon=True)
            moment = clock.now() + datetime.timedelta(seconds=AGAIN_SECONDS)
        listener(look, moment)
        _LOGGER.info("next look at %s", in_words(moment))
        while not is_over() and (left := (moment - clock.now()).total_seconds()) > 0:
            clock.sleep(min(left, NAP_SECONDS))
