"""The sub-commands of `keystone`, one file per group.

Each file has `register(app)`, which adds its commands. Heavy imports belong inside the commands, so that `--help` is quick.
"""
