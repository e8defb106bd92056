"""Metrics on disk that a training does without where the disk is full."""

import logging
from typing import Any

from lightning.pytorch.loggers import CSVLogger

log = logging.getLogger(__name__)


def without_failing(logger: Any) -> None:
    """Have a CSVLogger warn, once, where it cannot write, instead of ending the training; others stay as they are.

    Args:
        logger: any of Lightning's loggers.
    """
    if not isinstance(logger, CSVLogger):
        return
    save, said = logger.save, []

    def tolerant() -> None:
        try:
            save()
        except OSError as error:
            if not said:
                log.warning("metrics are not logged in %s: %s", logger.log_dir, error)
            said.append(error)

    logger.save = tolerant  # type: ignore[method-assign]
