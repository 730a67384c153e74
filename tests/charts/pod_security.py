"""The Pod Security level of the pods in rendered manifests: `helm template ... | python -m tests.charts.pod_security`.

After the Pod Security Standards of Kubernetes 1.36, for Linux. Stricter than they are in one point: a volume of an
unknown sort is never restricted.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from keystone.charts import PodSecurity

LEVELS: tuple[PodSecurity, ...] = ("privileged", "baseline", "restricted")
_TEMPLATED = ("DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet")
_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP"),
    *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected"),
    "secret",
}
_PROFILES = ("RuntimeDefault", "Localhost")


def pods(documents: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Kind and name of each object that makes pods, with their spec."""
    for one in documents:
        kind, spec = (one or {}).get("kind"), (one or {}).get("spec") or {}
        if kind == "CronJob":
            spec = spec["jobTemplate"]["spec"]["template"]["spec"]
        elif kind in _TEMPLATED:
            spec = spec["template"]["spec"]
        elif kind != "Pod":
            continue
        yield f"{kind}/{one['metadata']['name']}", spec


def level(pod: Mapping[str, Any]) -> PodSecurity:
    """The strictest level that lets the pod in."""
    above = pod.get("securityContext") or {}
    containers = [one for key in ("containers", "initContainers") for one in pod.get(key) or ()]
    volumes = [set(one) - {"name"} for one in pod.get("volumes") or ()]
    if (
        any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        or any("hostPath" in kinds for kinds in volumes)
        or above.get("sysctls")
        or not all(_baseline(one, above) for one in containers)
    ):
        return "privileged"
    return (
        "restricted"
        if all(k <= _VOLUMES for k in volumes) and all(_strict(c, above) for c in containers)
        else "baseline"
    )


def _baseline(container: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    own = container.get("securityContext") or {}
    return not (
        own.get("privileged")
        or own.get("procMount", "Default") != "Default"
        or any(port.get("hostPort") for port in container.get("ports") or ())
        or not set((own.get("capabilities") or {}).get("add") or ()) <= _CAPABILITIES
        or any((one.get("seccompProfile") or {}).get("type") == "Unconfined" for one in (own, above))
    )


def _strict(container: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    own = container.get("securityContext") or {}
    both = {**above, **own}
    capabilities = own.get("capabilities") or {}
    return (
        own.get("allowPrivilegeEscalation") is False
        and both.get("runAsNonRoot") is True
        and both.get("runAsUser") != 0
        and "ALL" in (capabilities.get("drop") or ())
        and set(capabilities.get("add") or ()) <= {"NET_BIND_SERVICE"}
        and (both.get("seccompProfile") or {}).get("type") in _PROFILES
    )


if __name__ == "__main__":
    for name, spec in pods(yaml.safe_load_all(sys.stdin)):
        print(f"{name}: {level(spec)}")
