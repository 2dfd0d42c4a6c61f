"""URLs that browsers and other clients use at the store without a key of theirs: uploads, parts, downloads.

Nothing here asks a server. botocore signs, but what it signs is put together here: the same URLs as boto3's in a third
of its time, which is much of what announcing an upload costs.

Uploads are signed by a key of their own, as a signature does not cover the headers that a client adds: with
`x-amz-copy-source` (CVE-2026-97731) it would have the store copy any object that the signer may read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import quote

import structlog
from botocore import auth
from botocore.auth import S3SigV4PostAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from common.errors import ConfigurationError
from common.objects import store_url
from common.settings import Settings

log = structlog.get_logger()

_UNKNOWN_TYPE = "application/octet-stream"
# What RFC 5987 lets stand unencoded in `filename*`, beside letters, digits and what `quote` never encodes.
_ATTRIBUTE_CHARACTERS = "!#$&+^`|"
# In the plain `filename` of RFC 6266: what would end the quotes, and what some clients take for encoded.
_UNSAFE_IN_QUOTES = frozenset('"%')
_NO_PATH = str.maketrans("/\\", "__")


class Presigner:
    """Signs for the host that browsers use, as the signature covers it. Times are `seconds` from now."""

    def __init__(self, settings: Settings) -> None:
        public = settings.s3_public_endpoint
        url = store_url(
            "BRIGADE_S3_PUBLIC_ENDPOINT" if public else "BRIGADE_S3_ENDPOINT", public or settings.s3_endpoint
        )
        self._origin = f"{url.scheme}://{url.netloc}"
        # As clients send it: the port that the scheme means is not named.
        self._host = url.netloc.lower().removesuffix(":443" if url.scheme == "https" else ":80")
        self._bucket = settings.bucket
        self._region = settings.s3_region
        self._reader = Credentials(settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value())
        signing = signing_key(settings)
        self._uploader = signing or self._reader
        if signing is None:
            log.warning(
                "uploads.signed_with_main_key",
                hint="Who gets an upload URL may copy what this key may read. Set BRIGADE_S3_SIGNING_ACCESS_KEY and "
                "BRIGADE_S3_SIGNING_SECRET_KEY; `brigade migrate` makes that key, or shows its policy.",
            )

    def put(self, key: str, *, size: int, content_type: str, seconds: int) -> tuple[str, dict[str, str]]:
        """A URL for one PUT of exactly so many bytes of this type, and the headers to send with it."""
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        return self._sign(self._uploader, "PUT", self._bucket, key, seconds, headers=headers), headers

    def post(self, key: str, *, size: int, content_type: str, seconds: int) -> tuple[str, dict[str, str]]:
        """Where to POST a form, and its fields: they come before the field `file`, which has `size` bytes."""
        fields = {"key": key, "Content-Type": content_type}
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        request = AWSRequest("POST", f"{self._origin}/{self._bucket}")
        request.context["s3-presign-post-fields"] = fields
        request.context["s3-presign-post-policy"] = {
            "expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
            "conditions": [
                {"bucket": self._bucket},
                {"key": key},
                {"Content-Type": content_type},
                ["content-length-range", size, size],
            ],
        }
        S3SigV4PostAuth(self._uploader, "s3", self._region).add_auth(request)  # adds policy and signature to the fields
        return request.url, fields

    def part(self, key: str, upload_id: str, number: int, *, size: int, seconds: int) -> str:
        """A URL to PUT one part of a multipart upload to, of exactly so many bytes. Numbers begin at 1."""
        query = {"uploadId": upload_id, "partNumber": str(number)}
        headers = {"Content-Length": str(size)}
        return self._sign(self._uploader, "PUT", self._bucket, key, seconds, headers=headers, query=query)

    def get(
        self, bucket: str, key: str, *, version_id: str | None, filename: str, content_type: str | None, seconds: int
    ) -> str:
        """A URL that downloads an object as a file of this name; browsers do not show it, whatever its type.

        Signed with the main key: the one that signs uploads cannot read.
        """
        query = {
            "response-content-disposition": _attachment(filename),
            "response-content-type": content_type or _UNKNOWN_TYPE,
        }
        if version_id:
            query["versionId"] = version_id
        return self._sign(self._reader, "GET", bucket, key, seconds, query=query)

    def _sign(
        self,
        credentials: Credentials,
        method: str,
        bucket: str,
        key: str,
        seconds: int,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> str:
        signer = S3SigV4QueryAuth(credentials, "s3", self._region, expires=seconds)
        moment = SimpleNamespace(context={"timestamp": f"{auth.get_current_datetime():%Y%m%dT%H%M%SZ}"})
        signed = {"host": self._host} | {name.lower(): value for name, value in (headers or {}).items()}
        names = ";".join(sorted(signed))
        asked = (query or {}) | {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": signer.scope(moment),
            "X-Amz-Date": moment.context["timestamp"],
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": names,
        }
        encoded = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in asked.items()]
        path = f"/{bucket}/{quote(key, safe='/~')}"
        # The canonical request, as "Signature Version 4" in the S3 documentation defines it.
        canonical = [method, path, _joined(sorted(encoded))]
        canonical += [f"{name}:{signed[name].strip()}" for name in sorted(signed)]
        canonical += ["", names, "UNSIGNED-PAYLOAD"]
        signature = signer.signature(signer.string_to_sign(moment, "\n".join(canonical)), moment)
        return f"{self._origin}{path}?{_joined(encoded)}&X-Amz-Signature={signature}"


def _joined(encoded: Sequence[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in encoded)


def signing_key(settings: Settings) -> Credentials | None:
    """The key of its own that uploads are signed with; None if there is none, so that the main key signs them.

    Raises `ConfigurationError` if only half of it is set.
    """
    access, secret = (
        settings.s3_signing_access_key.get_secret_value(),
        settings.s3_signing_secret_key.get_secret_value(),
    )
    if bool(access) != bool(secret):
        missing = "BRIGADE_S3_SIGNING_SECRET_KEY" if access else "BRIGADE_S3_SIGNING_ACCESS_KEY"
        raise ConfigurationError(f"Half of the key that signs uploads is missing: {missing}.")
    if access in ("", settings.s3_access_key.get_secret_value()):
        return None
    return Credentials(access, secret)


def _attachment(filename: str) -> str:
    """A Content-Disposition after RFC 6266: the name in ASCII for old clients, and as it is for all others."""
    name = "".join(c for c in filename if unicodedata.category(c) not in ("Cc", "Cs")).translate(_NO_PATH)
    plain = "".join(c if c.isascii() and c not in _UNSAFE_IN_QUOTES else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARACTERS)}"
