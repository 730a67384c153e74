"""The plugin's process. The launcher runs this file by its path, isolated from the caller's Python settings."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from twin.plugins.command.guard import Guard

# Children get the environment as the engine gave it to us; the guard is a fork from before any thread and any memory.
environment = dict(os.environ)
guard = Guard()
# Without this grpc complains on standard error about every child process.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from twin.plugins.base import serve  # noqa: E402
from twin.plugins.command.provider import CommandProvider  # noqa: E402

if __name__ == "__main__":
    serve(CommandProvider(environment, guard), sys.argv[1:])
