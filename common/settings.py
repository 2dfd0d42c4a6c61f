"""Every setting: one place, one default, one line of documentation. Units are in the names.

Each is read from the environment as BRIGADE_<NAME>, or from a file named by BRIGADE_ENV_FILE.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_CPUS = os.cpu_count() or 1


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="BRIGADE_", env_file=os.environ.get("BRIGADE_ENV_FILE"), frozen=True, extra="ignore"
    )

    # Servers
    database_url: SecretStr = Field(SecretStr("postgresql://127.0.0.1/brigade"), description="Postgres")
    amqp_url: SecretStr = Field(
        SecretStr("amqp://127.0.0.1/"), description="RabbitMQ; of a cluster: its nodes, with commas"
    )
    milvus_uri: str = Field("http://127.0.0.1:19530", description="Milvus, or Milvus Lite's server")
    milvus_token: SecretStr = Field(SecretStr(""), description="Milvus: user:password or an API key")
    s3_endpoint: str = Field("http://127.0.0.1:9000", description="The object store, as our processes reach it")
    s3_public_endpoint: str = Field("", description="The object store, as browsers reach it; empty: the same")
    s3_region: str = Field("us-east-1", description="Part of every signature; fixed, so that signing asks nobody")
    s3_access_key: SecretStr = Field(SecretStr(""), description="Key that may read and write the buckets")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="Its secret")
    s3_signing_access_key: SecretStr = Field(
        SecretStr(""), description="Key that signs uploads, may only write under incoming/; empty: the main key"
    )
    s3_signing_secret_key: SecretStr = Field(SecretStr(""), description="Its secret")
    bucket: str = Field("brigade", description="The bucket that uploads go to")
    notification_arns: list[str] = Field(
        ["arn:minio:sqs::FAST:webhook", "arn:minio:sqs::SAFE:webhook"],
        description="The store's notification targets, as JSON: a fast one without a queue on disk, a safe one with",
    )
    server_timeout_seconds: float = Field(10, gt=0, description="How long any call to a server may take to answer")
    copy_timeout_seconds: float = Field(300, gt=0, description="How long the store may take to copy an object for us")

    # The HTTP side
    url: str = Field("http://127.0.0.1:8080", description="Where the CLI finds the API")
    public_url: str = Field("", description="Where browsers reach the API; empty: the same as url")
    api_host: str = Field("127.0.0.1", description="The address the API listens on")
    api_port: int = Field(8080, ge=0, le=65535, description="The port the API listens on")
    api_key: SecretStr = Field(SecretStr(""), description="The CLI's key; `brigade migrate` registers it as an admin's")
    events_token: SecretStr = Field(SecretStr(""), description="Bearer token that the store's webhook sends")
    metrics_host: str = Field("127.0.0.1", description="The address workers and the scheduler show metrics on")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of a worker's or scheduler's metrics; 0: none")
    allowed_origins: list[str] = Field(
        [], description="Sites whose pages may call the API and the store, as JSON: https://app.example.org"
    )
    upload_url_seconds: int = Field(3600, gt=0, le=604_800, description="How long a presigned upload URL is good for")
    download_url_seconds: int = Field(900, gt=0, le=604_800, description="How long a download URL is good for")
    upload_grace_seconds: float = Field(900, ge=0, description="How much longer than its URL an upload is waited for")
    upload_multipart_seconds: float = Field(
        604_800, gt=0, description="How long a multipart upload may take, from when its parts were last signed"
    )
    upload_put_bytes: int = Field(100 << 20, ge=0, description="Above this, uploads are multipart unless asked not to")
    upload_part_bytes: int = Field(16 << 20, ge=5 << 20, le=5 << 30, description="Least size of a part but the last")
    max_metadata_bytes: int = Field(16 << 10, ge=2, description="Largest metadata of a document, as JSON")
    streamed_uploads: int = Field(8, gt=0, description="Uploads that pass through one API process at once, 24 MiB each")
    streamed_stall_seconds: float = Field(30, gt=0, description="How long such an upload may bring no byte")
    max_request_bytes: int = Field(1 << 20, gt=0, description="Largest JSON body the API reads")
    max_batch_bytes: int = Field(8 << 20, gt=0, description="The same, of calls that announce many uploads at once")
    request_seconds: float = Field(30, gt=0, description="How long a client may take to send a JSON body")

    trusted_proxies: list[str] = Field(
        [], description="Proxies whose X-Forwarded-For and -Proto are believed, as JSON: addresses or networks"
    )
    requests_per_minute: int = Field(60_000, ge=0, description="That one credential may make of one process; 0: any")
    requests_at_once: int = Field(20, gt=0, description="Those that are answered at once; others of its wait")
    logins_per_minute: int = Field(10, ge=0, description="Wrong passwords of one user; 0: any")
    failures_per_minute: int = Field(300, ge=0, description="Wrong credentials that an address may show; 0: any")

    # Live streams
    max_streams: int = Field(5000, gt=0, description="WebSockets and event streams that a process holds")
    max_streams_per_user: int = Field(1000, gt=0, description="Those of them that one user may hold")
    stream_token_seconds: float = Field(5, gt=0, description="How long a WebSocket may take to send its token")
    stream_send_seconds: float = Field(15, gt=0, description="A client that takes longer to take a message is dropped")
    stream_ping_seconds: float = Field(20, gt=0, description="Between two heartbeats")

    # People
    jwt_secret: SecretStr = Field(
        SecretStr(""), description="Signs access tokens; 32 bytes or more; empty: no login by password or OIDC"
    )
    access_token_seconds: int = Field(3600, gt=0, le=86_400, description="How long an access token is good for")
    auth_cache_seconds: float = Field(
        5, ge=0, description="How long a credential that was right is not looked up again, unless it changes; 0: never"
    )
    oidc_issuer: str = Field("", description="Who else may log people in, by OpenID Connect; empty: nobody")
    oidc_client_id: str = Field("", description="What this deployment is called there")
    oidc_client_secret: SecretStr = Field(SecretStr(""), description="Its secret there")
    oidc_scopes: str = Field("openid profile email", description="What it asks for there")
    oidc_create_users: bool = Field(True, description="Whether who logs in there for the first time becomes a user")

    # Work
    work_threads: int = Field(2 * _CPUS, gt=0, description="Steps a worker runs at once")
    worker_nice: int = Field(
        5, ge=0, le=19, description="How far workers stand back for the API and the servers on the same cores: nice(1)"
    )
    lane_runs: int = Field(
        8, gt=0, description="Runs of a step that a knowledge base has on their way at least; its others wait in line"
    )
    lease_seconds: float = Field(15, gt=0, description="A worker that is silent for this long has lost its step")
    hang_seconds: float = Field(
        120, gt=0, description="A worker whose heartbeat stands still for this long ends itself, and others take over"
    )
    max_attempts: int = Field(5, gt=0, description="Runs of a step before it fails for good")
    outbox_seconds: float = Field(5, gt=0, description="A message unsent for this long is sent by the scheduler")
    vanished_seconds: float = Field(
        20, gt=0, description="A message without effect for this long, of which RabbitMQ knows nothing, is sent again"
    )
    lost_seconds: float = Field(900, gt=0, description="A message without effect for this long is sent once more")
    tidy_seconds: float = Field(30, gt=0, description="How often what ended tasks left behind is cleared away")
    trim_seconds: float = Field(
        300, ge=0, description="When a task is completed for this long, only its text and chunks are kept"
    )
    keep_failed_seconds: float = Field(
        604_800, ge=0, description="How long a failed task can be retried: what its steps made is kept until then"
    )
    audit_seconds: float = Field(
        86_400, ge=0, description="How often the scheduler compares Postgres, store and Milvus; 0: never"
    )
    audit_grace_seconds: float = Field(
        600, ge=0, description="What ended or was written within this time, the comparison leaves to who works on it"
    )
    audit_settle_seconds: float = Field(
        10, ge=0, description="A removal that the store has not told of for this long counts as never told"
    )
    expire_seconds: float = Field(15, gt=0, description="How often announced uploads that never came are looked for")
    sweep_seconds: float = Field(
        600, gt=0, description="How often buckets are compared with the documents; never more than a tenth of the time"
    )
    sweep_quick_seconds: float = Field(
        15, gt=0, description="How often the store is asked for uploads that were announced and are not told of"
    )
    sweep_grace_seconds: float = Field(10, ge=0, description="How long a notification may be on its way")
    sweep_removals: int = Field(
        1000,
        ge=0,
        description="Documents that a sweep removes because their objects are gone; more need a person's word",
    )
    dead_letter_days: float = Field(30, gt=0, description="How long dead letters are kept that nobody needs any more")
    inline_artifact_bytes: int = Field(32 * 1024, ge=0, description="Artifacts up to this size live in the step's row")
    work_dir: Path = Field(Path("/tmp"), description="Where workers put files while they extract")  # noqa: S108

    # Limits of one document
    max_document_bytes: int = Field(1 << 30, gt=0, description="Largest object that is ingested")
    extract_seconds: float = Field(300, gt=0, description="Wall clock of one extraction")
    extract_cpu_seconds: int = Field(240, gt=0, description="CPU time of one extraction")
    extract_memory_bytes: int = Field(1 << 30, gt=0, description="Address space of one extraction, beyond its start")
    extract_output_bytes: int = Field(512 << 20, gt=0, description="Largest text that an extraction may produce")
    max_inflated_bytes: int = Field(512 << 20, gt=0, description="Largest size that a zipped format may unfold to")
    max_members: int = Field(
        10_000, ge=0, description="Most documents that one archive or e-mail, with all in it, unfolds to; 0: none"
    )
    max_members_bytes: int = Field(2 << 30, ge=0, description="Most bytes of them together")
    max_member_levels: int = Field(3, ge=0, description="How deep archives and e-mails within one another are unfolded")
    max_archive_entries: int = Field(100_000, gt=0, description="Most files of one archive that are looked at")
    max_pages: int = Field(20_000, gt=0, description="Most pages of one document")
    max_characters: int = Field(250_000_000, gt=0, description="Most characters of one document's text")

    max_image_pixels: int = Field(100_000_000, gt=0, description="Most pixels of one picture")
    ocr: bool = Field(True, description="Whether text that can only be seen is read: of scanned pages and pictures")
    ocr_pages: int = Field(1000, gt=0, description="Pages of one document that are read so; the rest is named")
    ocr_seconds: float = Field(900, gt=0, description="Wall clock of that for one document; the rest is named")
    ocr_page_seconds: float = Field(120, gt=0, description="Wall clock of that for one page")
    ocr_page_cpu_seconds: int = Field(60, gt=0, description="CPU time of that for one page")
    ocr_page_memory_bytes: int = Field(2 << 30, gt=0, description="Address space of that for one page")
    ocr_dpi: int = Field(200, ge=72, le=600, description="How finely a PDF's pages are drawn for that: dots per inch")

    # Model and index
    model_dir: Path = Field(
        Path("var/models/multilingual-e5-small"), description="model.onnx, tokenizer.json, manifest.json"
    )
    previous_model_dir: Path | None = Field(
        None, description="The model of before, while documents are processed again for another: finds by meaning too"
    )
    embedding_threads: int = Field(_CPUS, gt=0, description="Texts a process embeds at once, one core each")
    chunk_tokens: int = Field(
        256, ge=16, le=2048, description="Largest chunk, in the model's tokens, where a base says none"
    )
    chunk_overlap_tokens: int = Field(32, ge=0, description="How much of a chunk's end its successor repeats")
    chunk_by: Literal["heading", "page"] = Field(
        "heading", description="What ends a chunk, beside its page: its section, or nothing"
    )
    collection: str = Field("chunks", description="What our Milvus collections begin with; each model has its own")
    reindex_seconds: float = Field(
        5, gt=0, description="How often what is left to re-index is begun, and old collections are dropped"
    )
    reindex_documents: int = Field(
        100, gt=0, description="Documents of a knowledge base that are processed again at once, when it is re-indexed"
    )
    index_flush_rows: int = Field(500, gt=0, description="Milvus Lite: flush after this many rows")
    index_flush_seconds: float = Field(2, gt=0, description="Milvus Lite: flush rows that are older than this")

    # Running
    log_format: str = Field("console", pattern="^(console|json)$", description="console or json")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    failpoints: str = Field(
        "", description="Tests only: points at which a process kills itself, see common/failpoints.py"
    )


@cache
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
