"""Who may call an endpoint: each line of the table names one of these, so that no route is without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common import access
from common.access import Role, Subject
from common.db import Database
from common.errors import Forbidden
from common.principal import Principal, Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """A credential with this `scope`, of somebody with this `role` in the base of the `subject` that the path names.

    No `scope`: anybody, without any credential. No `subject`: the handler shows, or takes, only what is the caller's.
    `leaving`: also of a document that is being deleted.
    """

    scope: Scope | None
    subject: Subject | None = None
    role: Role = Role.READER
    leaving: bool = False

    def check(self, database: Database, caller: Principal, path: Mapping[str, str]) -> None:
        """Raise `Forbidden` or `NotFound` unless the caller may."""
        if self.scope is None:
            return
        if self.scope not in caller.scopes:
            raise Forbidden(f"This credential has not the scope '{self.scope}'.", needed=self.scope)
        if self.scope is Scope.ADMIN and not caller.is_admin:
            raise Forbidden("Only an admin may do this.", needed=Scope.ADMIN)
        if self.subject is not None:
            with database.transaction() as connection:
                access.demand(connection, caller, self.subject, path[self.subject], self.role, leaving=self.leaving)


PUBLIC = Rule(None)
READS = Rule(Scope.READ)
WRITES = Rule(Scope.WRITE)
ADMINISTERS = Rule(Scope.ADMIN)


def reads(subject: Subject) -> Rule:
    return Rule(Scope.READ, subject, Role.READER)


def edits(subject: Subject) -> Rule:
    return Rule(Scope.WRITE, subject, Role.EDITOR)


def deletes(subject: Subject) -> Rule:
    """Until all of it is gone, so that a deletion that failed can be asked for again."""
    return Rule(Scope.WRITE, subject, Role.EDITOR, leaving=True)


def leaves(subject: Subject) -> Rule:
    """Who has any role may give it up; the handler asks for more of who takes another's."""
    return Rule(Scope.WRITE, subject, Role.READER)


def owns(subject: Subject) -> Rule:
    return Rule(Scope.WRITE, subject, Role.OWNER)
