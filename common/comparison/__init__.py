"""What Postgres, the store and Milvus say of each other, compared both ways.

`inventory.py` lists what the store and Milvus hold into temporary tables, page by page; `differences.py` asks Postgres
what does not agree, and asks again of a few before anything is said or done; `findings.py` is how it is told. Who
compares and repairs is functions/schedule/compare.py.
"""
