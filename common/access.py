"""Who may do what with what. All that is somebody's belongs to a knowledge base, and a role in it is what counts.

These are the only statements that decide it: rules of endpoints, lists, searches and live streams ask here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum

from sqlalchemy import Connection, text

from common.errors import Conflict, Forbidden, NotFound
from common.principal import Principal


class Role(IntEnum):
    """In a knowledge base; each includes those below it. The names are the ones of knowledge_base_members."""

    READER = 1
    EDITOR = 2
    OWNER = 3


class Subject(StrEnum):
    """What can be addressed, by the name of its parameter in a path."""

    DOCUMENT = "document_id"
    TASK = "task_id"
    KNOWLEDGE_BASE = "knowledge_base_id"


# The base of a subject. A document that is being deleted has none any more, but for who deletes it; its tasks do.
_BASE_OF = {
    Subject.DOCUMENT: """
        SELECT knowledge_base_id AS id FROM documents WHERE id = :id AND (:leaving OR deleted_at IS NULL)
    """,
    Subject.TASK: "SELECT knowledge_base_id AS id FROM tasks WHERE id = :id",
    Subject.KNOWLEDGE_BASE: "SELECT id FROM knowledge_bases WHERE id = :id AND deleted_at IS NULL",
}
_DEMAND = {
    subject: text(f"""
        WITH found AS ({base_of})
        SELECT greatest(
            CASE WHEN base.owner_id = :user THEN 3 END,
            CASE member.role WHEN 'owner' THEN 3 WHEN 'editor' THEN 2 WHEN 'reader' THEN 1 END, 0)
        FROM found
            LEFT JOIN knowledge_bases AS base ON base.id = found.id
            LEFT JOIN knowledge_base_members AS member
                ON member.knowledge_base_id = found.id AND member.user_id = :user
    """)  # noqa: S608 - of the three constants above
    for subject, base_of in _BASE_OF.items()
}

# A text is taken apart each time it is made, which is worth sparing where uploads begin.
_FIND_BASE = text("""
    SELECT base.id, base.owner_id = :user AS own,
        greatest(CASE WHEN base.owner_id = :user OR :all THEN 3 END,
            CASE member.role WHEN 'owner' THEN 3 WHEN 'editor' THEN 2 WHEN 'reader' THEN 1 END, 0) AS role
    FROM knowledge_bases AS base
        LEFT JOIN knowledge_base_members AS member
            ON member.knowledge_base_id = base.id AND member.user_id = :user
    WHERE base.deleted_at IS NULL AND (base.owner_id = :user OR :all OR member.user_id IS NOT NULL)
        AND CASE WHEN CAST(:name AS text) IS NULL
            THEN base.id = (SELECT default_knowledge_base_id FROM users WHERE id = :user)
            ELSE base.id = :name OR base.name = :name END
    ORDER BY base.id = :name DESC, own DESC, role DESC, base.id LIMIT 2
""")


def demand(
    connection: Connection, caller: Principal, subject: Subject, subject_id: str, role: Role, *, leaving: bool = False
) -> None:
    """Raise `NotFound` if there is no such thing, `Forbidden` unless the caller has this role in its base.

    `leaving`: a document that is being deleted, and has not gone yet, counts as there.
    """
    found = connection.execute(
        _DEMAND[subject], {"id": subject_id, "user": caller.user_id, "leaving": leaving}
    ).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no {subject.name.lower().replace('_', ' ')} {subject_id!r}.")
    if found < role and not caller.sees_all:
        needed = role.name.lower()
        raise Forbidden(f"To do this you must be {needed} in its knowledge base: ask its owner.", needed=needed)


def visible_bases(
    connection: Connection, caller: Principal, *, role: Role = Role.READER, leaving: bool = False
) -> list[str]:
    """The ids of the knowledge bases in which the caller has at least this role; for who sees all, of all.

    `leaving`: deleted ones too, whose tasks tell what was done.
    """
    rows = connection.execute(
        text("""
            SELECT id FROM knowledge_bases AS base
            WHERE (:leaving OR deleted_at IS NULL) AND (:all OR owner_id = :user OR EXISTS (
                SELECT 1 FROM knowledge_base_members AS member
                WHERE member.knowledge_base_id = base.id AND member.user_id = :user AND member.role = ANY(:roles)))
            ORDER BY id
        """),
        {"leaving": leaving, "all": caller.sees_all, "user": caller.user_id, "roles": _names(role)},
    )
    return list(rows.scalars())


def bases_of_tasks(connection: Connection, caller: Principal) -> list[str] | None:
    """The ids of the knowledge bases whose tasks the caller may see; None: all."""
    return None if caller.sees_all else visible_bases(connection, caller, leaving=True)


def find_base(connection: Connection, caller: Principal, name: str | None, role: Role) -> str:
    """The id of the base with this id, or else this name, among those that are the caller's; None: their default.

    Raises `NotFound` for one that does not exist or is not theirs, which are told apart nowhere, since names can be
    guessed; `Conflict` (AMBIGUOUS_NAME) for a name that several have shared with them: whoever calls a base as another
    is called, and shares it, must not get what was meant for that one; `Forbidden` if they have not the role.
    """
    if name is None and caller.default_base:
        return caller.default_base  # it is theirs for good: nobody can delete it or give it away
    parameters = {"name": name, "user": caller.user_id, "all": caller.sees_all}
    rows = connection.execute(_FIND_BASE, parameters).all()
    if not rows:
        raise NotFound(
            f"There is no knowledge base {name!r}." if name else "You have no default knowledge base: name one."
        )
    row = rows[0]
    if len(rows) > 1 and not row.own and row.id != name:
        raise Conflict(f"Several knowledge bases are called {name!r}: say which by its id.", code="AMBIGUOUS_NAME")
    if row.role < role:
        needed = role.name.lower()
        raise Forbidden(f"You may not put anything into the knowledge base {name!r}: you are no {needed} there.")
    return str(row.id)


def _names(least: Role) -> Sequence[str]:
    return [role.name.lower() for role in Role if role >= least]
