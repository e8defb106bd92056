"""Metrics on disk that a training does without where the disk is full."""

import logging

from lightning.pytorch.loggers import CSVLogger

log = logging.getLogger(__name__)


def without_failing(logger: object) -> None:
    """Have a CSVLogger warn, once, where it cannot write, instead of ending the training; others stay as they are.

    Args:
        logger: any of Lightning's loggers.
    """
    if not isinstance(logger, CSVLogger):
        return
    logger.save = _Tolerant(logger)  # type: ignore[method-assign]  # in its place


class _Tolerant:
    """`save` of a CSVLogger; a class, for loggers are sent to processes that are started afresh."""

    def __init__(self, logger: CSVLogger):
        self.logger, self.warned = logger, False

    def __call__(self) -> None:
        try:
            type(self.logger).save(self.logger)
        except OSError as error:
            if not self.warned:
                log.warning("metrics are not logged in %s: %s", self.logger.log_dir, error)
            self.warned = True
