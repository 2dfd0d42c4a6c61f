"""An object that is written while its bytes come: in parts, of which nobody sees anything before the last step."""

from __future__ import annotations

import hashlib

from common.errors import BrigadeError
from common.multipart import Multipart, Part, part_size
from common.objects import ObjectStore, translated_boto

# Two of them are in memory at once. Larger ones are not faster, smaller ones cost the store more calls.
_PART_BYTES = 8 << 20


class StreamedObject:
    """Call `write` for each part, `seal` with the rest, and then `complete`; or `abort`. One call at a time.

    An object of less than a part is one PUT. All raise `Unavailable` when the store is.
    """

    def __init__(self, objects: ObjectStore, key: str, content_type: str, *, max_bytes: int) -> None:
        self._objects = objects
        self._multipart = Multipart(objects)
        self._key = key
        self._content_type = content_type
        self._hash = hashlib.sha256()
        self._parts: list[Part] = []
        self._rest: bytes | bytearray = b""
        self._completed = False
        self.part_bytes = part_size(max_bytes, _PART_BYTES)
        self.upload_id: str | None = None
        self.size = 0

    @property
    def sha256(self) -> str:
        """Hex, of what was written so far."""
        return self._hash.hexdigest()

    def write(self, part: bytes | bytearray) -> None:
        """Send one part, of `part_bytes`."""
        if self.upload_id is None:
            self.upload_id = self._multipart.begin(self._key, self._content_type)
        self._count(part)
        self._send(part)

    def seal(self, rest: bytes | bytearray) -> None:
        """The last bytes, less than a part: from now on `size` and `sha256` are known."""
        self._count(rest)
        if self.upload_id is None:
            self._rest = rest
        elif rest:
            self._send(rest)

    def complete(self) -> None:
        """Make the object visible. After an error it is not, unless the store does not even tell."""
        try:
            self._make_visible()
        except BrigadeError:
            # An answer may be lost, and boto3 then asks again, only to hear that there is no such upload any more.
            self.abort()
            if not self._objects.exists(self._key):
                raise
        self._completed = True

    def _make_visible(self) -> None:
        if self.upload_id is not None:
            self._multipart.complete(self._key, self.upload_id, self._parts)
            return
        with translated_boto("an upload"):
            self._objects.admin.put_object(
                Bucket=self._objects.bucket, Key=self._key, Body=self._rest, ContentType=self._content_type
            )

    def abort(self) -> None:
        """Leave nothing in the store, unless the object is whole. To repeat it changes nothing."""
        if self.upload_id is not None and not self._completed:
            self._multipart.abort(self._key, self.upload_id)

    def _count(self, part: bytes | bytearray) -> None:
        self._hash.update(part)
        self.size += len(part)

    def _send(self, part: bytes | bytearray) -> None:
        number = len(self._parts) + 1
        with translated_boto("a part of an upload"):
            sent = self._objects.admin.upload_part(
                Bucket=self._objects.bucket, Key=self._key, UploadId=self.upload_id, PartNumber=number, Body=part
            )
        self._parts.append(Part(number, len(part), sent["ETag"].strip('"')))
