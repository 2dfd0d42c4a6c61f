"""A private RabbitMQ: the system's package, a node of its own. With its epmd these are two processes on three ports."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pika
from pika.exceptions import AMQPError

from deploy.local.guardian import Guardian
from deploy.local.install import find_rabbitmq, how_to_install
from deploy.local.server import NotInstalledError, NotReadyError, Server

_USER = "brigade"

# Messages here are only names: neither much memory nor much disk.
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 256MB
"""


class Epmd(Server):
    """Erlang's port mapper, which a node insists on. Ours, or `erl` would start one for the whole machine."""

    name = "RabbitMQ's port mapper"

    def prepare(self) -> None:
        """It keeps nothing."""

    def command(self) -> Sequence[str]:
        epmd = shutil.which("epmd")
        if epmd is None:
            raise NotInstalledError(self.name, how_to_install())
        return [epmd, "-address", "127.0.0.1", "-port", str(self.port)]

    def check(self) -> None:
        _connect(self.port)


class RabbitMQ(Server):
    """Ask it to stop rather than kill it: a quorum queue that was declared less than a second before a SIGKILL has, in
    3.10, no leader ever after. (Ra writes its register of queues with a delay.)
    """

    name = "RabbitMQ"

    def __init__(
        self, directory: Path, port: int, guardian: Guardian, *, password: str, epmd_port: int, cluster_port: int
    ) -> None:
        super().__init__(directory, port, guardian)
        self.password = password
        self.cluster_port = cluster_port
        self._script = find_rabbitmq()
        self.epmd = Epmd(directory / "epmd", epmd_port, guardian)

    @property
    def url(self) -> str:
        return f"amqp://{_USER}:{self.password}@127.0.0.1:{self.port}/%2F"

    def prepare(self) -> None:
        if self._script is None:
            raise NotInstalledError(self.name, how_to_install())
        # The user is made when the node first starts on an empty directory; later the same lines change nothing.
        config = self.directory / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text(_CONFIG.format(port=self.port, user=_USER, password=self.password))
        (self.directory / "enabled_plugins").write_text("[].\n")
        if self.epmd.pid is None:
            self.epmd.start()

    def command(self) -> Sequence[str]:
        return [str(self._script)]

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "RABBITMQ_NODENAME": "brigade@localhost",
            "RABBITMQ_DIST_PORT": str(self.cluster_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": f"{self.directory}/none",  # not the machine's in /etc/rabbitmq
            "RABBITMQ_CONFIG_FILE": f"{self.directory}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{self.directory}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.directory}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{self.directory}/data",
            "RABBITMQ_LOG_BASE": f"{self.directory}/log",
            "RABBITMQ_LOGS": "-",
            "ERL_EPMD_PORT": str(self.epmd.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def check(self) -> None:
        _connect(self.port)  # first, as pika logs every refusal as an error
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except AMQPError as error:
            raise NotReadyError(repr(error)) from error

    def stop(self) -> None:
        super().stop()
        self.epmd.stop()

    def kill(self) -> None:
        super().kill()
        self.epmd.kill()

    def give_up(self) -> None:
        super().give_up()
        self.epmd.give_up()


def _connect(port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError as error:
        raise NotReadyError(str(error)) from error
