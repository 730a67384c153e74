"""The comment on a pull request, from what `pulumi preview --json` printed: `render(read(text), Subject(stack=...))`.

Pure but for `reboot.py`, which asks Nix. `keystone.github` puts the comment where it belongs.
"""

from keystone.preview_comment.machines import Judge
from keystone.preview_comment.markdown import LIMIT, Subject, render
from keystone.preview_comment.plan import Plan, read
from keystone.preview_comment.reboot import Reboots

__all__ = ["LIMIT", "Judge", "Plan", "Reboots", "Subject", "read", "render"]
