"""English words that say nothing of what is asked for: every passage has them."""

from __future__ import annotations

# Without those that mean something in capitals or by themselves: it, us, can, will, who, may, not, no.
COMMON_WORDS = frozenset(
    (
        *("a", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "did", "do", "does", "for"),
        *("from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "its", "me", "my", "of", "on", "or"),
        *("our", "so", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to"),
        *("was", "we", "were", "what", "when", "where", "which", "whom", "whose", "why", "with", "you", "your"),
    )
)
