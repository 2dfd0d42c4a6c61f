"""What the page shows for the main calls: real-looking, and true to the types, which a test sees to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TASK = "0199f2c8-5d3e-7b1a-9c44-2f6f0c1b7e90"
_DOCUMENT = "0199f2c8-5d3e-7a02-8d11-6b7a5e0c3f21"
_KEY = f"incoming/{_DOCUMENT}/handbook.pdf"

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "create_upload": {
        "body": {
            "filename": "handbook.pdf",
            "size": 1_482_330,
            "content_type": "application/pdf",
            "metadata": {"department": "people", "language": "de"},
        },
    },
    "search": {
        "body": {
            "query": "How many days of leave do I have?",
            "top_k": 1,
            "mode": "hybrid",
            "knowledge_base_ids": ["Handbooks"],
            "filters": {
                "file_type": ["pdf", "docx"],
                "metadata.department": "people",
                "created_at": {"gte": "2026-01-01T00:00:00Z"},
            },
            "neighbours": 1,
        },
        "answer": {
            "hits": [
                {
                    "document_id": _DOCUMENT,
                    "document_name": "handbook.pdf",
                    "knowledge_base_id": "0199f2c8-5d3e-7c5e-b3a1-94d07c6be8f2",
                    "knowledge_base_name": "Handbooks",
                    "version": 1,
                    "chunk": 17,
                    "page": 12,
                    "start": 20_133,
                    "end": 20_211,
                    "text": "Everybody has 30 days of leave a year, of which five may be taken in the next.",
                    "score": 0.4333,
                    "headings": ["Handbook", "Working time", "Leave"],
                    "places": [
                        {"page": 12, "box": [72.0, 318.4, 523.2, 331.6]},
                        {"page": 12, "box": [72.0, 333.0, 118.7, 346.2]},
                    ],
                    "found_by": ["dense", "keyword"],
                    "highlights": [[17, 21], [25, 30]],
                    "before": [
                        {
                            "chunk": 16,
                            "page": 12,
                            "start": 20_041,
                            "end": 20_104,
                            "text": "Whoever works part-time has leave in proportion to their hours.",
                        }
                    ],
                    "after": [],
                }
            ],
            "took_ms": 21.4,
            "next_cursor": "MQ==",
        },
    },
}
