"""What stands for the shell of a twin machine: it finds the program of a command line and runs it.

A command line is split as a shell would split it, but no shell runs it: machines take plain programs with arguments.
"""

from __future__ import annotations

import shlex

import asyncssh

from keystone.errors import KeystoneError
from twin.commands import NOT_FOUND, REGISTRY, Call, Failed, clients, disks, files, install, nix, system, tpm
from twin.machine import Machine

# A module registers its programs when it is imported.
_ = (clients, disks, files, nix, system, tpm)


async def serve(machine: Machine, process: asyncssh.SSHServerProcess[bytes], line: str) -> int:
    """Run the command line of one SSH session and return its exit status."""
    try:
        argv = split(line)
    except Failed as failed:
        process.stderr.write(f"{failed.text}\n".encode())
        return failed.status
    call = Call(machine, argv, process.stdin, process.stdout.write, process.stderr.write)
    status = await run(call) if argv else 0
    machine.journal(f"ssh: {line[:300]} -> {status}")
    return status


def split(line: str) -> list[str]:
    """Split a command line into words. Raises Failed for what only a shell could run, so that nothing half-works."""
    quote = ""
    escaped = False
    for letter in line:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            elif quote == '"' and letter in "$`":
                raise Failed(f"bash: {letter!r}: the twin's machines run plain programs, not shell syntax", 2)
        elif letter in "'\"":
            quote = letter
        elif letter in "$`;&|<>()\n":
            raise Failed(f"bash: {letter!r}: the twin's machines run plain programs, not shell syntax", 2)
    try:
        return shlex.split(line)
    except ValueError as error:
        raise Failed(f"bash: {error}", 2) from None


async def run(call: Call) -> int:
    """Run one command and return its exit status; every fault becomes text on its standard error."""
    machine = call.machine
    name = call.argv[0]
    command = REGISTRY.commands.get((machine.state, name)) or install.in_store(machine.state, name)
    if command is None:
        call.warn(f"bash: {name}: No such file or directory" if "/" in name else f"bash: {name}: command not found")
        return NOT_FOUND
    try:
        return await command(call)
    except Failed as failed:
        call.warn(failed.text)
        return failed.status
    except KeystoneError as error:
        call.warn(f"{name}: {error}")
        return 1
    except OSError as error:
        call.warn(f"{name}: {error.strerror}: {error.filename}" if error.strerror else f"{name}: {error}")
        return 1
