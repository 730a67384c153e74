"""A stand-in for the command provider 1.2.1: local and remote commands, and copies to a remote machine.

Where it differs from the official plugin, on purpose:
- A command has a session and process group of its own. When it has to stop (cancel, time limit, death of the plugin or
  the engine) the group gets SIGTERM and two seconds later SIGKILL; the official plugin kills the first process only.
- Output that is not UTF-8 gets replacement characters; the official plugin cannot store it.
- Secret inputs are masked in shown lines and in error messages. Outputs are stored as they are, as there.
- Lines are shown in the background; when thousands wait, the oldest are dropped and counted.
- An SSH server that refuses an environment variable is not noticed; there it is an error.
- `perDialTimeout` covers the whole login, there only the TCP connection.
- The deprecated CopyFile is missing.
"""
