"""Install RabbitMQ, the one server that comes in no wheel: `python -m deploy.local.install`.

Standard library only, so that `make` can run it before anything else is there. Exit code 1 when a person must type
something first; the last line printed is what to type.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# /usr/lib first: Debian's /usr/sbin/rabbitmq-server insists on being root or user rabbitmq.
_PLACES = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin/rabbitmq-server",
)

_BY_HAND = {
    "apt-get": "sudo apt-get update && sudo apt-get install --no-install-recommends rabbitmq-server",
    "dnf": "sudo dnf install rabbitmq-server",
    "brew": "brew install rabbitmq",
}

# policy-rc.d's 101 keeps the package from starting its system-wide service: ours is private, and 5672 may be in use.
_APT = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends rabbitmq-server
if [ -d /run/systemd/system ]; then systemctl disable rabbitmq-server; fi
"""


def find_rabbitmq() -> Path | None:
    """The start script of an installed RabbitMQ that any user may run, or None."""
    for place in _PLACES:
        if os.access(place, os.X_OK):
            return Path(place)
    return None


def how_to_install() -> str:
    """The line to type on this machine."""
    for manager, line in _BY_HAND.items():
        if shutil.which(manager):
            return line
    return (
        "install RabbitMQ 3.10 or newer (https://www.rabbitmq.com/docs/download), or set BRIGADE_AMQP_URL to a server"
    )


def _becoming_root() -> list[str] | None:
    """What to put before a command so that it runs as root without asking anybody; None if that cannot be had."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def main() -> int:
    if os.environ.get("BRIGADE_AMQP_URL") or find_rabbitmq():
        return 0
    as_root = _becoming_root()
    if shutil.which("apt-get") and as_root is not None:
        print("Installing RabbitMQ with apt-get (once) …", flush=True)
        # Its output goes to stderr: whoever runs this may want stdout for himself.
        subprocess.run([*as_root, "sh", "-c", _APT], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        if find_rabbitmq():
            return 0
        print("RabbitMQ could not be installed. See above why; by hand it is:", file=sys.stderr)
    else:
        print("RabbitMQ is missing, and installing it needs you. Type:", file=sys.stderr)
    print(how_to_install(), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
