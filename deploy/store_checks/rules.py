"""Checks of what holds for a whole bucket: which sites' pages may upload, and whom the store tells of events."""

from __future__ import annotations

from botocore.exceptions import ClientError

from deploy.cors import allow_origins
from deploy.notifications import notification_rules, says
from deploy.store_checks.check import Lacks, demand
from deploy.store_checks.ground import TEXT, Ground

_SITE, _OTHER_SITE = "https://app.example.org", "https://elsewhere.example.org"
_BODY = b"0123456789"
# Not under incoming/: the system that these settings are for would take what is put there for documents.
EVENTS_PREFIX = "brigade-check-events/"


def pages_may_upload(ground: Ground) -> str:
    allow_origins(ground.objects, [_SITE])
    url, headers = ground.presigner.put(ground.key("a"), size=len(_BODY), content_type=TEXT, seconds=60)
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    preflight = ground.http.options(url, headers=asked | {"Origin": _SITE}).headers
    if preflight.get("Access-Control-Allow-Origin") not in (_SITE, "*"):
        raise Lacks("a page's preflight is refused")
    answer = ground.http.put(url, content=_BODY, headers=headers | {"Origin": _SITE})
    demand(answer.is_success, f"a page's upload is refused ({answer.status_code})", "that it is taken")
    exposed = answer.headers.get("Access-Control-Expose-Headers", "").lower().replace(" ", "").split(",")
    if not {"etag", "*"} & set(exposed):
        raise Lacks("pages may not read the ETag of what they put")
    other = ground.http.options(url, headers=asked | {"Origin": _OTHER_SITE}).headers
    every = other.get("Access-Control-Allow-Origin") in (_OTHER_SITE, "*")
    return "the store answers every site" if every else "only the sites that are named"


def notifications(ground: Ground) -> str:
    arns = ground.settings.notification_arns
    if not arns:
        raise Lacks("BRIGADE_NOTIFICATION_ARNS names no targets")
    set_rules(ground, arns)
    there = ground.objects.admin.get_bucket_notification_configuration(Bucket=ground.bucket)
    kept = [says(rule) for rule in there.get("QueueConfigurations", [])]
    unset_rules(ground)
    wanted = [says(rule) for rule in notification_rules(arns, [EVENTS_PREFIX])]
    same = len(kept) == len(wanted) and all(rule in kept for rule in wanted)
    demand(same, f"of the rules that were set {kept} are there", f"{wanted}")
    return f"the store knows {', '.join(arns)}"


def set_rules(ground: Ground, arns: list[str]) -> None:
    rules = {"QueueConfigurations": notification_rules(arns, [EVENTS_PREFIX])}
    try:
        ground.objects.admin.put_bucket_notification_configuration(
            Bucket=ground.bucket, NotificationConfiguration=rules
        )
    except ClientError as error:
        said = error.response["Error"]
        raise Lacks(f"the store takes no such rules ({said['Code']}: {said.get('Message', '')})") from error


def unset_rules(ground: Ground) -> None:
    ground.objects.admin.put_bucket_notification_configuration(Bucket=ground.bucket, NotificationConfiguration={})
