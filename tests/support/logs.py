"""What tests do with the log: plain lines for whoever reads of a failure, or nothing where it would only cost time."""

from __future__ import annotations

import logging

import structlog


def plain() -> None:
    """Lines without colours, and short traceback texts: the library's own rendering takes most of a test's time."""
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ]
    )


def none() -> None:
    """Drop nearly every line unmade."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
