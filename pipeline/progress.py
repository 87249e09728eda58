"""Events of a run for those who watch it: the terminal, a listener, the log."""

import logging

LOGGER = logging.getLogger("slimline.progress")


def tell(event: str, **fields: object) -> None:
    """Logs an event with its fields."""
    LOGGER.info(event, extra={"fields": fields})
