"""A stand-in for the command provider: local and remote commands, and copies to a remote machine."""
