"""Users of a Kafka with an authorizer, and their ACLs: made from the commands that the documentation prints."""

from __future__ import annotations

import shlex
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from streams.kafka.connection import Connection
from streams.kafka.rights import NEEDS, Right
from streams.kafka.rights_page import commands
from tests.support.servers import KafkaServer

OPERATIONS = {"DescribeConfigs": "DESCRIBE_CONFIGS", "AlterConfigs": "ALTER_CONFIGS"}


class Accounts:
    """Makes users on a Kafka that checks ACLs. folder: for their passwords."""

    def __init__(self, server: KafkaServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._admin = KafkaAdminClient(bootstrap_servers=server.inner)

    def close(self) -> None:
        self._admin.close()

    def add(self, user: str, *programs: str) -> dict[str, str]:
        """A user who may do what these programs need; returns the settings with which it connects."""
        self.set_password(user, f"password-of-{user}")
        for program in programs:
            for command in commands(NEEDS[program], "fvq", user, self._server.broker, named=str):
                self._admin.create_acls(acls_of(command))
        return self.settings(user)

    def set_password(self, user: str, password: str) -> None:
        """Make a user, or give it another password; it has that in its file."""
        self._admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, password)])
        (self._folder / user).write_text(password)

    def remove(self, user: str) -> None:
        """Delete a user: it cannot connect any more."""
        self._admin.alter_user_scram_credentials([UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)])

    def grant(self, user: str, right: Right) -> None:
        self._admin.create_acls([_acl(user, right.operation, ResourceType[right.resource.upper()], right.name)])

    def take(self, user: str, right: Right) -> None:
        """Take one right away that the user has by an ACL of its own."""
        pattern = ResourcePatternFilter(ResourceType[right.resource.upper()], right.name, ACLResourcePatternType.ANY)
        operation = ACLOperation[OPERATIONS.get(right.operation, right.operation.upper())]
        taken = self._admin.delete_acls([ACLFilter(f"User:{user}", None, operation, ACLPermissionType.ALLOW, pattern)])
        assert any(matching for _, matching, _ in taken), f"{user} has no {right}"

    def settings(self, user: str) -> dict[str, str]:
        """How the product connects as this user."""
        return {
            "FVQ_BROKER": self._server.broker,
            "FVQ_KAFKA_SECURITY": "SASL_SSL",
            "FVQ_KAFKA_USER": user,
            "FVQ_KAFKA_PASSWORD_FILE": str(self._folder / user),
            "FVQ_KAFKA_CA_FILE": str(self._server.folder / "ca.pem"),
        }

    def connection(self, user: str) -> Connection:
        """The same for a part that is called in this process."""
        password, ca_file = (self._folder / user).read_text(), self._server.folder / "ca.pem"
        return Connection(self._server.broker, "SASL_SSL", user=user, password=password, ca_file=ca_file)


def acls_of(command: str) -> list[ACL]:
    """The ACLs that a command of Kafka's own tool would make: of the options that `rights_page.commands` uses, and no others."""
    tool, *words = shlex.split(command)
    assert tool == "kafka-acls.sh"
    principal = operation = ""
    pattern = ACLResourcePatternType.LITERAL
    resources: list[tuple[ResourceType, str]] = []
    options = iter(words)
    for option in options:
        match option:
            case "--add":
                continue
            case "--bootstrap-server" | "--command-config":
                next(options)
            case "--allow-principal":
                principal = next(options)
            case "--operation":
                operation = next(options)
            case "--resource-pattern-type":
                pattern = ACLResourcePatternType[next(options).upper()]
            case "--topic" | "--group":
                resources.append((ResourceType[option[2:].upper()], next(options)))
            case _:
                raise AssertionError(f"{option} in {command}")
    return [_acl(principal.removeprefix("User:"), operation, resource, name, pattern) for resource, name in resources]


def _acl(
    user: str,
    operation: str,
    resource: ResourceType,
    name: str,
    pattern: ACLResourcePatternType = ACLResourcePatternType.LITERAL,
) -> ACL:
    return ACL(
        f"User:{user}",
        "*",
        ACLOperation[OPERATIONS.get(operation, operation.upper())],
        ACLPermissionType.ALLOW,
        ResourcePattern(resource, name, pattern),
    )
