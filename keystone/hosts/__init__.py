"""What runs against a machine: guarded install, switching, joining, removal; pinned host keys and bounded waits.

The program runs these as `python -m keystone.hosts COMMAND NAME`; no Pulumi is imported here.
"""
