"""Milvus Lite's own server, with its collections opened before it answers: `python milvus_server.py DIRECTORY PORT`.

It opens a collection when first asked for it, and two first requests at once open it twice, which loses rows (tried:
one acknowledged row lost in each of three trials; none with this). No client can guard against that, so its starter
does. The dictionary of Chinese words is loaded then too: the first document would wait a second and a half for it.
"""

from __future__ import annotations

import sys

import jieba
from milvus_lite.adapter.grpc import server
from milvus_lite.db import MilvusLite


class OpenedMilvusLite(MilvusLite):  # type: ignore[misc]
    def __init__(self, data_dir: str) -> None:
        super().__init__(data_dir)
        for name in self.list_collections():
            self.get_collection(name).load()
        jieba.initialize()


def main() -> None:
    directory, port = sys.argv[1:]
    server.MilvusLite = OpenedMilvusLite
    server.run_server(directory, host="127.0.0.1", port=int(port))


if __name__ == "__main__":
    main()
