"""The sub-commands of `keystone`, one file per group; `keystone.cli` lists them.

A command is a function with Typer annotations, named as the command; its module is imported only when it is called.
"""
