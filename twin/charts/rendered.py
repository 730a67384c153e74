"""What charts make of their values, as far as others build on it: custom resources, classes of storage and gateways.

Each function does what the templates of its chart do for the values that our catalogue sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Object = dict[str, Any]
Values = Mapping[str, Any]
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _object(api: str, kind: str, name: str, namespace: str = "", **content: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def _class(
    name: str, provisioner: str, parameters: Values, *, default: bool = False, binding: str = "Immediate"
) -> Object:
    found = _object(
        "storage.k8s.io/v1",
        "StorageClass",
        name,
        provisioner=provisioner,
        parameters={key: str(value) for key, value in parameters.items()},
        reclaimPolicy="Delete",
        allowVolumeExpansion=True,
        volumeBindingMode=binding,
    )
    found["metadata"]["annotations"] = {DEFAULT_CLASS: "true" if default else "false"}
    return found


def ceph_cluster(values: Values, namespace: str) -> Iterator[Object]:
    """rook-ceph-cluster: the cluster, its pools, file systems and object stores, and a class for each."""
    operator = values.get("operatorNamespace", "rook-ceph")
    spec = dict(values["cephClusterSpec"])
    # Defaults of the chart's own values, over which Helm merges ours.
    image = f"quay.io/ceph/ceph:{values['cephImage']['tag']}"
    spec = {"cephVersion": {"image": image}, "dataDirHostPath": "/var/lib/rook", **spec}
    spec["monitoring"] = {"enabled": values.get("monitoring", {}).get("enabled", False)}
    yield _object("ceph.rook.io/v1", "CephCluster", namespace, namespace, spec=spec)
    for pool in values.get("cephBlockPools", []):
        yield _object("ceph.rook.io/v1", "CephBlockPool", pool["name"], namespace, spec=pool["spec"])
        if not pool["storageClass"]["enabled"]:
            continue
        parameters = {"pool": pool["name"], "clusterID": namespace, **pool["storageClass"]["parameters"]}
        yield _ceph_class(pool["storageClass"], f"{operator}.rbd.csi.ceph.com", parameters)
    for system in values.get("cephFileSystems", []):
        name = system["name"]
        yield _object("ceph.rook.io/v1", "CephFilesystem", name, namespace, spec=system["spec"])
        group = {"name": "csi", "filesystemName": name, "pinning": {"distributed": 1}}
        yield _object("ceph.rook.io/v1", "CephFilesystemSubVolumeGroup", f"{name}-csi", namespace, spec=group)
        chosen = system["storageClass"]
        parameters = {"fsName": name, "pool": f"{name}-{chosen['pool']}", "clusterID": namespace}
        yield _ceph_class(chosen, f"{operator}.cephfs.csi.ceph.com", parameters | chosen["parameters"])
    for store in values.get("cephObjectStores", []):
        name = store["name"]
        yield _object("ceph.rook.io/v1", "CephObjectStore", name, namespace, spec=store["spec"])
        parameters = {"objectStoreName": name, "objectStoreNamespace": namespace, **store["storageClass"]["parameters"]}
        yield _class(store["storageClass"]["name"], f"{namespace}.ceph.rook.io/bucket", parameters)


def _ceph_class(chosen: Values, provisioner: str, parameters: Values) -> Object:
    return _class(chosen["name"], provisioner, parameters, default=chosen["isDefault"])


def ceph_csi_drivers(values: Values, namespace: str) -> Iterator[Object]:
    """ceph-csi-drivers: the operator's configuration and one Driver for each that is on."""
    config = values["operatorConfig"]
    yield _object(
        "csi.ceph.io/v1",
        "OperatorConfig",
        "ceph-csi-operator-config",
        config["namespace"],
        spec={"driverSpecDefaults": config["driverSpecDefaults"]},
    )
    for driver in values["drivers"].values():
        if driver["enabled"]:
            spec = {key: value for key, value in driver.items() if key not in ("enabled", "name")}
            yield _object("csi.ceph.io/v1", "Driver", driver["name"], namespace, spec=spec)


def cilium(values: Values, _namespace: str) -> Iterator[Object]:
    """cilium: its gateway class, when the gateway is on."""
    if values.get("gatewayAPI", {}).get("enabled"):
        yield _gateway_class("cilium", "io.cilium/gateway-controller")


def _gateway_class(name: str, controller: str) -> Object:
    return _object("gateway.networking.k8s.io/v1", "GatewayClass", name, spec={"controllerName": controller})


def traefik(values: Values, namespace: str) -> Iterator[Object]:
    """traefik: class and gateway, when the gateway is on."""
    gateway = values.get("gateway", {})
    if not gateway.get("enabled"):
        return
    yield _gateway_class("traefik", "traefik.io/gateway-controller")
    listeners = []
    for name, given in gateway["listeners"].items():
        listener = {"name": name, "port": given["port"], "protocol": given["protocol"]}
        listener["allowedRoutes"] = {"namespaces": given["namespacePolicy"]}
        if "hostname" in given:
            listener["hostname"] = given["hostname"]
        if "certificateRefs" in given:
            listener["tls"] = {"mode": given["mode"], "certificateRefs": given["certificateRefs"]}
        listeners.append(listener)
    found = _object(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        gateway["name"],
        namespace,
        spec={"gatewayClassName": "traefik", "listeners": listeners},
    )
    found["metadata"]["annotations"] = gateway["annotations"]
    yield found


def ingress_nginx(_values: Values, _namespace: str) -> Iterator[Object]:
    """ingress-nginx: its class."""
    yield _object("networking.k8s.io/v1", "IngressClass", "nginx", spec={"controller": "k8s.io/ingress-nginx"})


def local_path(values: Values, _namespace: str) -> Iterator[Object]:
    """local-path-provisioner: its class. Volumes are made where the pod runs, so binding waits for the pod."""
    chosen = values["storageClass"]
    yield _class(
        chosen["name"],
        "rancher.io/local-path",
        {},
        default=chosen["defaultClass"],
        binding="WaitForFirstConsumer",
    )


def longhorn(values: Values, _namespace: str) -> Iterator[Object]:
    """longhorn: its class."""
    persistence = values["persistence"]
    parameters = {"numberOfReplicas": persistence["defaultClassReplicaCount"]}
    yield _class("longhorn", "driver.longhorn.io", parameters, default=persistence["defaultClass"])


def openebs(values: Values, _namespace: str) -> Iterator[Object]:
    """openebs: the class of its local engine."""
    chosen = values["localpv-provisioner"]["hostpathClass"]
    yield _class(
        chosen["name"], "openebs.io/local", {}, default=chosen["isDefaultClass"], binding="WaitForFirstConsumer"
    )


def class_list(provisioner: str) -> Callable[[Values, str], Iterator[Object]]:
    """Charts whose values list storage classes: the drivers of AWS and Proxmox."""

    def render(values: Values, _namespace: str) -> Iterator[Object]:
        for chosen in values.get("storageClasses", values.get("storageClass", [])):
            default = chosen.get("annotations", {}).get(DEFAULT_CLASS) == "true"
            yield _class(
                chosen["name"],
                provisioner,
                chosen.get("parameters", {}),
                default=default,
                binding=chosen.get("volumeBindingMode", "Immediate"),
            )

    return render
