"""Logs and metrics. A log line is an event name and its facts: task, step, document, duration; never a secret."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import Counter, Gauge, Histogram

# Steps take from a millisecond (a small preprocess) to many minutes (a long batch on a slow core).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

STEPS = Counter("brigade_steps_total", "Runs of steps by how they ended", ["step", "outcome"])
STEP_SECONDS = Histogram("brigade_step_seconds", "Time of a step's run", ["step"], buckets=_SECONDS)
NOTIFICATIONS = Counter(
    "brigade_notifications_total", "Notifications from stores by what became of them", ["road", "result"]
)
MADE_UP = Counter("brigade_made_up_events_total", "Events that no notification told of, found in the bucket", ["kind"])
DEAD_LETTERS = Counter("brigade_dead_letters_total", "Messages given up on", ["reason"])
OPEN_DEAD_LETTERS = Gauge("brigade_dead_letters_open", "Dead letters that wait for somebody", ["queue"])
REQUESTS = Counter("brigade_http_requests_total", "HTTP requests by route and status", ["method", "route", "status"])
AUDIT_FINDINGS = Gauge(
    "brigade_audit_findings", "Documents or tasks that the last comparison found wrong and did not mend", ["kind"]
)
AUDIT_ENDED = Gauge("brigade_audit_ended_timestamp_seconds", "When this process last ended a comparison")
BROKER_UP = Gauge("brigade_broker_connected", "1 while connected to RabbitMQ")
LISTENING = Gauge("brigade_listening", "1 while Postgres tells this process what changes")
STREAMS = Gauge("brigade_streams", "Live streams that are open")


def configure_logging(log_format: str, level: str) -> None:
    """Log to stderr, for people or for machines; what libraries log goes the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Their INFO is one line a request or a connection attempt; sse_starlette's DEBUG is what it sends.
    for noisy in ("pika", "botocore", "urllib3", "alembic", "httpx", "sse_starlette"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
