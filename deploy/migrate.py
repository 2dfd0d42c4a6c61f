"""What must be there before anything runs: tables, keys, the bucket with its rules, the collection.

All of it may be repeated, by several processes at once.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from alembic import command
from alembic.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr

from common import api_keys
from common.db import Database
from common.errors import ConfigurationError
from common.objects import ObjectStore, translated_boto
from common.services import Services
from common.settings import Settings
from deploy.buckets import make_bucket
from deploy.cors import allow_origins
from deploy.indexing import prepare_index
from deploy.notifications import OURS, notification_rules, says
from deploy.signing_key import ensure_signing_key
from router.broker import PikaBroker
from router.table import ROUTES

log = structlog.get_logger()

# Between two looks whether a store that starts knows its notification targets.
_ARN_SECONDS = 0.2

MIGRATIONS = Path(__file__).parent / "migrations"
# Said by stores that have no notifications: SeaweedFS takes the rules for a bucket that is to be made.
_TELLS_NOBODY = frozenset({"NotImplemented", "MethodNotAllowed", "BucketAlreadyOwnedByYou", "BucketAlreadyExists"})


def migrate(database_url: str) -> None:
    """Bring the schema up to date. Raises `Unavailable` if Postgres does not answer."""
    settings = Settings(database_url=SecretStr(database_url))
    with closing(Database(settings, connections=1)) as database, database.exclusive("migrate") as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def prepare(settings: Settings, *, new_model: bool = False) -> str | None:
    """Everything that must be there. Returns the admin's API key if one had to be made: it is shown this once.

    `new_model`: the index may be changed over to the model in BRIGADE_MODEL_DIR.
    """
    migrate(settings.database_url.get_secret_value())
    services = Services(settings)
    try:
        made = _admin_key(services)
        prepare_index(services, new_model=new_model)
        # The rules last: from then on the store sends, and what it sends to an exchange without a queue is lost.
        _topology(settings)
        _bucket(services.objects, settings)
        allow_origins(services.objects, settings.allowed_origins)
        ensure_signing_key(services.objects, settings)
    finally:
        services.close()
    return made


def _admin_key(services: Services) -> str | None:
    given = services.settings.api_key.get_secret_value()
    with services.database.transaction() as connection:
        if given:
            api_keys.register_admin_key(connection, given)
            return None
        if api_keys.has_admin_key(connection):
            return None
        key = api_keys.new_key()
        api_keys.register_admin_key(connection, key)
        return key


def _bucket(objects: ObjectStore, settings: Settings) -> None:
    """The bucket, and a notification rule for each of the store's targets and each prefix that a route listens to."""
    make_bucket(objects, settings.s3_region)
    if not settings.notification_arns:
        log.warning(
            "bucket.no_notifications", hint="BRIGADE_NOTIFICATION_ARNS is empty: set the bucket's rules by hand"
        )
        return
    try:
        _set_rules(objects, settings)
    except _TellsNobody as refusal:
        log.warning(
            "bucket.no_notifications",
            reason=str(refusal),
            hint="This store tells nobody of events: the sweep alone finds what is there. BRIGADE_NOTIFICATION_ARNS=[] "
            "says so.",
        )


class _TellsNobody(Exception):
    """The store has no notifications."""


def _set_rules(objects: ObjectStore, settings: Settings) -> None:
    """Raises `_TellsNobody`, or `Unavailable`: a target that the store does not know is for the operator to mend."""
    with translated_boto(f"setting notification rules on the bucket {objects.bucket}"):
        there = objects.admin.get_bucket_notification_configuration(Bucket=objects.bucket)
        there.pop("ResponseMetadata", None)
        rules = there.pop("QueueConfigurations", [])
        ours = notification_rules(settings.notification_arns, sorted({route.prefix for route in ROUTES}))
        asked = [says(rule) for rule in ours]
        others = [rule for rule in rules if not rule.get("Id", "").startswith(OURS) and says(rule) not in asked]
        if len(rules) == len(others) + len(ours) and all(says(rule) in map(says, rules) for rule in ours):
            return
        # A PUT replaces all rules of the bucket, and not all of them need be ours.
        _put_rules(objects, there | {"QueueConfigurations": [*others, *ours]}, settings.server_timeout_seconds)


def _put_rules(objects: ObjectStore, rules: dict[str, Any], patience_seconds: float) -> None:
    """A MinIO that has just started answers before it knows its targets: an ARN may be unknown for a moment."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            objects.admin.put_bucket_notification_configuration(Bucket=objects.bucket, NotificationConfiguration=rules)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _TELLS_NOBODY:
                raise _TellsNobody(code) from error
            if code != "InvalidArgument" or time.monotonic() > deadline:
                raise
            time.sleep(_ARN_SECONDS)
        else:
            return


def _topology(settings: Settings) -> None:
    """The queues: a store's AMQP target must find its own bound before it sends."""
    url = settings.amqp_url.get_secret_value()
    broker = PikaBroker(url, timeout_seconds=settings.server_timeout_seconds)
    broker.start()
    connected = broker.wait_connected(settings.server_timeout_seconds)
    broker.close()
    if not connected:
        raise ConfigurationError(f"RabbitMQ does not answer at {urlsplit(url).hostname}: see BRIGADE_AMQP_URL.")
