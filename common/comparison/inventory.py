"""What the store and Milvus hold, in temporary tables of one transaction: so it is compared where the rows are, in
constant memory here, and in whatever order a store lists its keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from sqlalchemy import Connection, text

from common.findings import Listed
from common.untrusted import is_nameable

_ROWS = 1000


def prepare(connection: Connection) -> None:
    """Empty tables, which go with the transaction."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))  # it compares all there is
    connection.execute(
        text("""
            CREATE TEMPORARY TABLE listed_objects
                (bucket text, key text COLLATE "C", size bigint, modified timestamptz) ON COMMIT DROP
        """)
    )
    connection.execute(
        text("""
            CREATE TEMPORARY TABLE listed_vectors
                (document_id text, version int, count bigint, last int) ON COMMIT DROP
        """)
    )


def buckets(connection: Connection) -> list[str]:
    """Those that documents live in."""
    rows = connection.execute(text("SELECT DISTINCT bucket_name FROM documents WHERE deleted_at IS NULL ORDER BY 1"))
    return list(rows.scalars())


def add_objects(connection: Connection, bucket: str, listing: Iterable[Listed]) -> int:
    """Take a listing in; returns how many there were. Keys that no document can have are passed over."""
    listing = (one for one in listing if is_nameable(one.key))
    total = 0
    while page := list(islice(listing, _ROWS)):
        connection.execute(
            text("""
                INSERT INTO listed_objects
                SELECT :bucket, * FROM unnest(:keys ::text[], :sizes ::bigint[], :modified ::timestamptz[])
            """),
            {
                "bucket": bucket,
                "keys": [one.key for one in page],
                "sizes": [one.found.size for one in page],
                "modified": [one.found.written_at for one in page],
            },
        )
        total += len(page)
    return total


def add_vectors(connection: Connection, pages: Iterable[list[tuple[str, int, int]]]) -> int:
    """Take in (document, version, chunk) of every row of the index; returns how many there were."""
    total = 0
    for page in pages:
        counts = Counter((document, version) for document, version, _ in page)
        last: dict[tuple[str, int], int] = {}
        for document, version, chunk in page:
            last[document, version] = max(chunk, last.get((document, version), 0))
        connection.execute(
            text("""
                INSERT INTO listed_vectors
                SELECT * FROM unnest(:documents ::text[], :versions ::int[], :counts ::bigint[], :last ::int[])
            """),
            {
                "documents": [document for document, _ in counts],
                "versions": [version for _, version in counts],
                "counts": list(counts.values()),
                "last": [last[one] for one in counts],
            },
        )
        total += len(page)
    return total


def analyze(connection: Connection) -> None:
    """Tell the planner how large they have become."""
    connection.execute(text("ANALYZE listed_objects"))
    connection.execute(text("ANALYZE listed_vectors"))
