"""POST /events/s3: a store's webhook. 2xx means that the notification is safely in RabbitMQ, and nothing less."""

from __future__ import annotations

import msgspec
import structlog

from common.errors import Unauthenticated
from common.http import Reply
from common.security import same_secret
from common.settings import Settings
from common.telemetry import NOTIFICATIONS
from router import letters, topology
from router.broker import Broker, Publication
from router.stores import s3

log = structlog.get_logger()


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """`reason`: why it was kept aside, if it was."""

    accepted: bool
    reason: str | None = None


class Webhook:
    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._token = settings.events_token.get_secret_value()
        self._broker = broker

    def receive(self, authorization: str, body: bytes) -> Reply[Receipt]:
        """Hand the notification to the router.

        One that can never be understood is answered 200 too, and kept with its reason: a store repeats a refused one
        for ever, and holds back all behind it.
        """
        if not same_secret(authorization.removeprefix("Bearer "), self._token):
            NOTIFICATIONS.labels("webhook", "unauthorized").inc()
            raise Unauthenticated("The webhook's token is wrong: it must be BRIGADE_EVENTS_TOKEN.")
        events, error = s3.decode(body)
        if error is not None and not events:
            log.warning("notification.invalid", reason=error.message)
            NOTIFICATIONS.labels("webhook", "invalid").inc()
            self._broker.publish([letters.dead(body, queue=topology.NOTIFICATIONS, error=error)])
            return Reply(Receipt(accepted=False, reason=error.message))
        self._broker.publish([Publication(topology.NOTIFICATIONS, "webhook", body)])
        NOTIFICATIONS.labels("webhook", "accepted").inc()
        return Reply(Receipt(accepted=True))
