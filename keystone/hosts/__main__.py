"""`python -m keystone.hosts COMMAND NAME`: what the program's commands run. The root secret comes on standard input.

Progress goes to standard error, results to standard output. Exit status 1 is a fault, 3 a refusal of the guard.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from keystone import settings
from keystone.errors import KeystoneError
from keystone.hosts import gitops, guard, install, join, kubeconfig, policy, remove, ssh, system
from keystone.hosts.context import Context
from keystone.identities import Identities

STACK = "KEYSTONE_STACK"
REFUSED = 3


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m keystone.hosts", description=__doc__)
    made.add_argument("--stack", default=os.environ.get(STACK), help=f"the stack; default: ${STACK}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("name", metavar="NAME", help="name of the host")
        return sub

    one = command("install", "install a machine, or adopt it when it is ours")
    one.add_argument("--verify-only", action="store_true", help="only check that it is installed; never writes")
    command("system", "switch a host to the system of its facts")
    command("join", "bring a host into the mesh and wait for its node")
    command("policy", "give the mesh policy to the controller on the Primer NAME")
    command("kubeconfig", "print the administrator's kubeconfig, once the API of the Primer NAME is ready")
    command("gitops", "wait until the GitOps engine on the cluster of the Primer NAME takes releases")
    command("passphrase", "print the passphrase of a host's disks")
    for name, text in (
        ("remove", "take a host out of cluster and mesh; a name in the stack file means a destroy"),
        ("stop", "stop the Primer's services at the end of a destroy"),
    ):
        sub = command(name, text)
        sub.add_argument("--role", required=True, help="its role")
        sub.add_argument("--address", required=True, help="its address")
        sub.add_argument("--port", type=int, required=True, help="port of its SSH server")
        sub.add_argument("--user", default="root", help="user to log in as; default: root")
        sub.add_argument("--generation", type=int, required=True, help="its install generation")
    return made


def context_of(stack: str | None) -> Context:
    """The stack's context. Raises KeystoneError when the stack or the root secret is missing."""
    if not stack:
        raise KeystoneError("stack", "not given", f"Set {STACK} or pass --stack")
    read = settings.read(stack)
    if sys.stdin.isatty():
        raise KeystoneError(
            "standard input", "is a terminal", "`pulumi config get rootSecret | python -m keystone.hosts`"
        )
    identities = Identities(sys.stdin.readline().strip(), read.cluster.name)
    return Context(stack, read, identities, Path.cwd())


async def dispatch(arguments: argparse.Namespace, context: Context) -> None:
    name: str = arguments.name
    match arguments.command:
        case "install":
            await install.install(context, name, verify_only=arguments.verify_only)
        case "system":
            await system.system(context, name)
        case "join":
            print(join.output(await join.join(context, name)))
        case "policy":
            await policy.policy(context)
        case "kubeconfig":
            print(await kubeconfig.kubeconfig(context), end="")
        case "gitops":
            await gitops.gitops(context)
        case "passphrase":
            print(context.identities.recovery_passphrase(name, context.host(name).install_generation))
        case "remove" | "stop":
            target = ssh.Target(name, arguments.address, arguments.port, arguments.user)
            gone = remove.Removed(name, arguments.role, target, arguments.generation)
            await (remove.remove if arguments.command == "remove" else remove.stop_primer)(context, gone)


async def _ended_by_signal(work: Coroutine[Any, Any, None]) -> None:
    """Runs the work; SIGTERM and SIGINT cancel it, so that key files and children are cleaned away."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for sort in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sort, task.cancel)
    await task


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        asyncio.run(_ended_by_signal(dispatch(arguments, context_of(arguments.stack))))
    except guard.Refusal as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    except KeystoneError as fault:
        print(fault, file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print(f"hosts.{arguments.name}: {arguments.command} was interrupted. Run it again.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
