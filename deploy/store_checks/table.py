"""What a store is asked, as data: every check, what needs it, and what is done where the store lacks it."""

from __future__ import annotations

from deploy.store_checks import keys, listings, objects, pins, removals, rules, uploads
from deploy.store_checks.check import Check

_BY_COPY = "Versions are pinned by copies of the bytes, each as large as its object; older ones are not kept."
_REFUSED = "Whoever would put such a key is told so by the store; nothing is lost."
_RENAMED = "Either nothing is put, or it has the name that the listing shows: put nothing under such keys."
_FOLDER = "A folder is no object there, and no document comes of it."
_ONE = "They are one object there: what is put later is a new version of the same document."
_CLOCK = "Set both clocks by NTP."

CHECKS: tuple[Check, ...] = (
    Check("what is written is read", objects.written_is_read, "Artifacts, and every step that reads a document"),
    Check("empty objects", objects.empty_objects, "An empty file is refused with its reason"),
    Check("ETags", objects.etags, "Whether an event is news, and which bytes are pinned"),
    Check(
        "missing objects",
        objects.missing_objects,
        "A deleted document is told from one that cannot be read now",
        advice="Let the key list the bucket (s3:ListBucket): without it a store does not tell the two apart.",
    ),
    Check("at once", objects.at_once, "An event may be handled the moment that it comes"),
    Check(
        "types and metadata",
        objects.types_and_metadata,
        "A document shows the type that it was sent with",
        instead="The type is judged by the content alone.",
    ),
    Check(
        "clocks",
        objects.clocks,
        "Presigned URLs are good for as long as clients are told",
        instead=f"Presigned URLs end sooner or later by this much; beyond 15 minutes the store refuses all. {_CLOCK}",
    ),
    Check(
        "times",
        objects.times,
        "Events that are made up are put in order with real ones",
        instead="They are put in order by whole seconds; within one, the ETag tells.",
    ),
    Check("uploads as announced", uploads.announced_is_taken, "POST /uploads: clients PUT at the store"),
    Check("uploads elsewhere", uploads.other_places_and_times, "A presigned URL is good for one key, and ends"),
    Check(
        "uploads of other sizes",
        uploads.other_sizes_and_types,
        "A presigned URL takes exactly what was announced",
        instead="Another file than announced is taken; VALIDATE judges it by its own size and content.",
    ),
    Check("forms", uploads.forms, "Uploads by method `post`", instead="Uploads by `put` and `multipart` only."),
    Check("multipart uploads", uploads.parts, "Large files, and uploads that are gone on with"),
    Check(
        "parts of other sizes",
        uploads.other_parts,
        "A part's URL takes exactly that part",
        instead="A larger part is taken; VALIDATE judges the whole by its own size.",
    ),
    Check("multipart uploads aborted", uploads.aborted, "DELETE /uploads, and uploads that never came"),
    Check(
        "multipart uploads listed",
        uploads.open_uploads,
        "Parts of uploads that no document knows are dropped",
        instead="The store must drop old ones itself (MinIO does after a day; elsewhere, by a lifecycle rule).",
    ),
    Check("downloads", uploads.downloads, "GET /documents/…/download: a file, which no browser shows"),
    Check(
        "downloads of versions",
        uploads.downloads_of_versions,
        "Downloads of older versions",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check(
        "restricted keys",
        uploads.restricted_keys,
        "Uploads are signed by a key that can do nothing else",
        instead="The main key signs uploads, until you make one with the policy that `brigade migrate` shows.",
    ),
    Check(
        "copies slipped into uploads",
        uploads.slipped_in_copies,
        "Who may upload may not read others' objects (CVE-2026-97731)",
        instead="Sign uploads with a restricted key: else whoever gets an upload URL may copy what is in the store.",
    ),
    Check(
        "pages of other sites",
        rules.pages_may_upload,
        "Browsers upload straight to the store (BRIGADE_ALLOWED_ORIGINS)",
        instead="Set the store's CORS by hand, exposing ETag; the API's own form upload works without.",
        sets_rules=True,
    ),
    Check("pins by copy", pins.by_copy, "A task works on the same bytes, whatever happens to the key"),
    Check(
        "copies that demand an ETag",
        pins.of_other_bytes,
        "An object that is overwritten while it is pinned is not taken for its older version",
        advice="Turn versioning on for the bucket: then nothing is copied.",
    ),
    Check("pins of multipart uploads", pins.of_a_multipart_upload, "The same, of files that came in parts"),
    Check(
        "pins by version",
        pins.by_version,
        "A task reads the version that its event named, without a copy",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check(
        "versions that are gone",
        pins.of_a_version_that_is_gone,
        "A version that was deleted is told from one that cannot be read now",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check("deletions of a prefix", removals.of_a_prefix, "What a task made is taken away, and nothing else"),
    Check(
        "deletions of versions",
        removals.of_a_prefix,
        "The same, with every version",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check("deletions of a document", removals.of_a_document, "DELETE /documents takes its bytes, never another's"),
    Check(
        "deletions of a document's versions",
        removals.of_a_documents_versions,
        "The same, where another's versions have the same key",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check(
        "deletions that demand an ETag",
        removals.only_if_unchanged,
        "What is put under the key in that moment stays",
        instead="In a bucket without versions, what is put within the milliseconds of a deletion goes too.",
    ),
    Check(
        "what comes back",
        removals.what_comes_back,
        "A version that shows again after a deletion is a document again",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check("keys: signs", keys.signs, "Files have any name"),
    Check("keys: languages", keys.languages, "Files have names in any language"),
    Check(
        "keys: normal forms",
        keys.normal_forms,
        "Names typed on a Mac and elsewhere are two keys",
        instead=_ONE,
    ),
    Check(
        "keys: upper and lower case",
        keys.case,
        "They are two keys",
        instead=_ONE,
    ),
    Check("keys: outer spaces", keys.outer_spaces, "Drops by other systems", instead=_REFUSED),
    Check("keys: backslashes", keys.backslashes, "Drops by other systems", instead=_RENAMED),
    Check("keys: control characters", keys.controls, "Drops by other systems", instead=_REFUSED),
    Check("keys: 1,024 bytes", keys.long_keys, "Drops by other systems", instead=_REFUSED),
    Check("keys: names over 255 bytes", keys.long_names, "Drops by other systems", instead=_REFUSED),
    Check("keys: empty folders", keys.empty_folders, "Drops by other systems", instead=_RENAMED),
    Check("keys: ending in a slash", keys.folder_objects, "Folders that consoles make", instead=_FOLDER),
    Check("keys: dots", keys.dots, "Drops by other systems", instead=_REFUSED),
    Check("keys: below an object", keys.objects_below_objects, "Drops by other systems", instead=_REFUSED),
    Check("keys: above objects", keys.folders_above_folders, "Drops by other systems", instead=_REFUSED),
    Check(
        "listing order",
        listings.order,
        "The sweep merges a listing with the documents, in one order",
        instead="The sweep reads documents in the store's order, folder by folder.",
    ),
    Check("listing pages", listings.pages, "The sweep sees every object once"),
    Check(
        "listing from a key",
        listings.gone_on_with,
        "A sweep that was broken off goes on",
        instead="A listing that began at a key is complete when nothing comes after its last one.",
    ),
    Check("listing from a key that is gone", listings.gone_on_with_what_is_gone, "The same, when it was deleted since"),
    Check(
        "listing of versions",
        listings.versions,
        "Deletions see every version",
        instead=_BY_COPY,
        needs_versions=True,
    ),
    Check(
        "listing of versions in pages",
        listings.pages_of_versions,
        "The same, beyond 1,000 versions",
        instead="What a page leaves out is asked for by its key before it is taken for gone; deletions list again.",
        needs_versions=True,
    ),
    Check(
        "notification rules",
        rules.notifications,
        "Work begins the moment an object is there",
        instead="The sweep alone finds what is there, every BRIGADE_SWEEP_SECONDS.",
        sets_rules=True,
    ),
)
