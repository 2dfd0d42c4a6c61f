"""`python -m deploy.local.milvus_server DIRECTORY PORT`: Milvus Lite's own server, made fit for several clients.

What writes goes through one lock. Our clients take turns by a lock of their own (common/index), but who was killed,
or has lost patience, lets go of that while the request still runs here.

It opens a collection when first asked for it, and two first requests at once open it twice, which loses rows (tried:
one acknowledged row lost in each of three trials; none with this). No client can guard against that, so its starter
does. The dictionary of Chinese words is loaded then too: the first document would wait a second and a half for it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import jieba
from milvus_lite.adapter.grpc import server
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite

from deploy.local import milvus_search

# To list the collections opens those that are not open, as one is for a moment that is being made.
_ALONE = (("Insert", "Upsert", "Delete", "Flush"), ("CreateCollection", "DropCollection", "ShowCollections"))


def _one_at_a_time(handle: Callable[..., Any], lock: threading.Lock) -> Callable[..., Any]:
    def handle_alone(*arguments: Any) -> Any:
        with lock:
            return handle(*arguments)

    return handle_alone


class OpenedMilvusLite(MilvusLite):  # type: ignore[misc]
    def __init__(self, data_dir: str) -> None:
        super().__init__(data_dir)
        for name in self.list_collections():
            self.get_collection(name).load()
        jieba.initialize()


def main() -> None:
    directory, port = sys.argv[1:]
    server.MilvusLite = OpenedMilvusLite
    milvus_search.install()
    for names in _ALONE:
        lock = threading.Lock()
        for name in names:
            setattr(MilvusServicer, name, _one_at_a_time(getattr(MilvusServicer, name), lock))
    server.run_server(directory, host="127.0.0.1", port=int(port))


if __name__ == "__main__":
    main()
