"""What is published with this repository on purpose, and so guards nothing outside of a twin."""

TWIN_PASSPHRASE = "keystone-twin"
"""The passphrase of twin stacks, whose secrets open nothing outside one computer."""
