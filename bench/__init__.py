"""Times and memory of Keystone against its budgets, and against the engine's own floor in the same run.

`make bench`. It works on copies of the project in a temporary folder, on loopback networks of its own, so that a
running twin is left alone.
"""
