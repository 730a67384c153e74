"""Print the page about restores: `python -m keystone.backup > docs/operations/restore.md`."""

from keystone.backup.catalogue import page

print(page(), end="")
