"""Where the twin's real programs (etcd, kube-apiserver, headscale, tailscaled, ...) lie."""

from __future__ import annotations

import os
from pathlib import Path

from keystone.errors import KeystoneError

NAMES = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok"),
    *("headscale", "tailscaled"),
)
"""What a site needs to run; the engine and its plugins are not among them."""
KUBERNETES_PLUGIN = "pulumi-resource-kubernetes"


def folder() -> Path:
    """The folder of the programs: KEYSTONE_TOOLS when set, else the per-user cache that `toolchain` fills."""
    if given := os.environ.get("KEYSTONE_TOOLS"):
        return Path(given)
    from toolchain import bin_dir

    return bin_dir()


def tool(name: str) -> Path:
    """The full path of one program. Raises KeystoneError when it is not there."""
    path = folder() / name
    if not os.access(path, os.X_OK):
        raise KeystoneError(name, f"is not in {folder()}", "Build the tools with `python -m toolchain`")
    return path


def missing() -> list[str]:
    """The names of the programs that are not there."""
    return [name for name in NAMES if not os.access(folder() / name, os.X_OK)]


def kubernetes_plugin() -> Path | None:
    """The engine's Kubernetes provider, which is kept off PATH; None when it is not built."""
    if given := os.environ.get("KEYSTONE_TOOLS"):
        path = Path(given) / KUBERNETES_PLUGIN
    else:
        from toolchain import inventory

        found = inventory([KUBERNETES_PLUGIN])
        path = found[0].path if found else None
    return path if path is not None and os.access(path, os.X_OK) else None
