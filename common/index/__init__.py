"""The index of chunks: the one room that knows Milvus.

`index.py` is what others use, all collections of ours; `collection.py` one of them; `rows.py` what goes in and comes
out; `schema.py` the fields; `locks.py` what Milvus Lite needs; `server.py` the wire.
"""

from common.index.index import Index, Mode
from common.index.rows import Found, Hit, Row, hash_of

__all__ = ["Found", "Hit", "Index", "Mode", "Row", "hash_of"]
