"""What search shows, and what it does not."""

from __future__ import annotations

from uuid import uuid4

from common.index import Row
from common.records import Chunk, EmbeddedChunk
from tests.integration.system import System


def test_rows_of_versions_that_do_not_show_cannot_starve_those_that_do(worker: System) -> None:
    task = worker.ingest(f"incoming/{uuid4()}/shown.txt", b"The quokka is a small marsupial of Rottnest Island.")
    shown = str(task.document_id)
    vector = worker.services.embedder.embed_passages(["The quokka is a small marsupial of Rottnest Island."])[0]
    # As a version that failed in STORE leaves them: a hundred rows that answer as well, of no version that shows.
    left = [
        Row(
            f"failed-{number}", 1, "default", EmbeddedChunk(Chunk(0, 1, 0, 9, "quokka"), vector.astype("<f4").tobytes())
        )
        for number in range(100)
    ]
    worker.services.index.upsert(iter(left))
    for mode in ("dense", "keyword", "hybrid"):
        hits = worker.client.search("quokka, marsupial of Rottnest Island", mode=mode, top_k=3).hits
        assert shown in {hit.document_id for hit in hits}
        assert not any(hit.document_id.startswith("failed-") for hit in hits)
    for row in left:
        worker.services.index.delete_document(row.document_id)
