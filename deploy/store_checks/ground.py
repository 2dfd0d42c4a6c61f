"""Where a check may write, and the product's own tools for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Any

import httpx
from botocore.credentials import Credentials

from common.context import Target
from common.multipart import Multipart
from common.objects import ObjectStore
from common.presigner import Presigner
from common.records import Pin
from common.settings import Settings
from deploy.store_checks.check import Lacks

TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Ground:
    """A prefix of a bucket that one check has for itself.

    `name`: how the tasks are named that there are none of, so that their pins are found. `restricted`: the key that
    uploads are signed with here; None: the store makes none, for the reason `no_key`, so the main key signs them.
    `begun`: keys and ids of the multipart uploads that there were.
    """

    settings: Settings
    objects: ObjectStore
    presigner: Presigner
    multipart: Multipart
    http: httpx.Client
    prefix: str
    name: str
    restricted: Credentials | None
    no_key: str
    begun: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def within(self, check: str) -> Ground:
        return replace(self, prefix=f"{self.prefix}{re.sub(r'[^a-z0-9]+', '-', check.lower())}/")

    @property
    def bucket(self) -> str:
        return self.objects.bucket

    def key(self, name: str) -> str:
        return self.prefix + name

    def put(self, key: str, body: bytes, **options: Any) -> str:
        """As another system would. Returns the ETag, without quotes."""
        answer = self.objects.admin.put_object(Bucket=self.bucket, Key=key, Body=body, **options)
        return str(answer.get("ETag", "")).strip('"')

    def put_version(self, key: str, body: bytes) -> tuple[str, str]:
        """The same where versions are kept: the version's id and its ETag."""
        answer = self.objects.admin.put_object(Bucket=self.bucket, Key=key, Body=body)
        if answer.get("VersionId") in (None, "", "null"):
            raise Lacks("what is put there gets no version id, though the bucket says that it keeps versions")
        return str(answer["VersionId"]), str(answer["ETag"]).strip('"')

    def target(self, key: str, etag: str, version_id: str | None = None) -> Target:
        """What a task for this object would have. Its pin lies under artifacts/."""
        return Target(f"{self.name}-{token_hex(4)}", "", 1, "", key, self.bucket, key, etag, version_id)

    def read(self, pin: Pin) -> bytes:
        return b"".join(self.objects.stream(pin, 0))

    def begin(self, key: str) -> str:
        """A multipart upload, which is aborted in the end if it is open then."""
        upload_id = self.multipart.begin(key, TEXT)
        self.begun.append((key, upload_id))
        return upload_id

    def listed(self, **options: Any) -> list[dict[str, Any]]:
        """What a listing of this prefix shows, page by page."""
        pages = self.objects.admin.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix, **options
        )
        return [one for page in pages for one in page.get("Contents", [])]

    def is_empty(self, prefix: str) -> bool:
        return "Contents" not in self.objects.admin.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=1)

    def versions(self, **options: Any) -> list[dict[str, Any]]:
        """The same with every version and every delete marker; those have no ETag. In the order of each page."""
        pages = self.objects.admin.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=self.prefix, **options
        )
        return [one for page in pages for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, [])]
