"""File systems of EFS."""

from __future__ import annotations

from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.values import Props, compact, pascal, tag_list, tags_of
from twin.plugins.base import ProviderError

GONE = ("AccessPointNotFound", "FileSystemNotFound", "MountTargetNotFound")
READY_SECONDS = 300.0


def _retag(call: Call) -> None:
    if not call.state:
        return
    have = call.state.get("tagsAll") or {}
    if gone := sorted(set(have) - set(call.tags)):
        call("efs", "untag_resource", ResourceId=call.id, TagKeys=gone)
    if have != call.tags and call.tags:
        call("efs", "tag_resource", ResourceId=call.id, Tags=tag_list(call.tags))


def _create_system(call: Call) -> str:
    given = compact(
        CreationToken=call.inputs["creationToken"],
        PerformanceMode=call.inputs.get("performanceMode"),
        Encrypted=call.inputs.get("encrypted"),
        KmsKeyId=call.inputs.get("kmsKeyId"),
        ThroughputMode=call.inputs.get("throughputMode"),
        ProvisionedThroughputInMibps=call.inputs.get("provisionedThroughputInMibps"),
        AvailabilityZoneName=call.inputs.get("availabilityZoneName"),
        Tags=tag_list(call.tags),
    )
    return call("efs", "create_file_system", **given)["FileSystemId"]


def _update_system(call: Call) -> None:
    if call.state and call.changed("throughputMode", "provisionedThroughputInMibps"):
        raise ProviderError(
            "efs update_file_system: moto does not know this request, so the twin cannot change a throughput"
            " mode. Replace the file system: pulumi up --replace URN"
        )
    if call.changed("lifecyclePolicies") and (call.inputs.get("lifecyclePolicies") is not None or call.state):
        # Each transition is an entry of its own.
        parts = [
            pascal({name: item}, {"transitionToIa": "TransitionToIA"})
            for one in call.inputs.get("lifecyclePolicies") or []
            for name, item in one.items()
            if item
        ]
        call("efs", "put_lifecycle_configuration", FileSystemId=call.id, LifecyclePolicies=parts)
    _retag(call)


def _read_system(call: Call) -> Props | None:
    answer = call.find(GONE, "efs", "describe_file_systems", FileSystemId=call.id)
    one = next(iter((answer or {}).get("FileSystems", [])), None)
    if one is None:
        return None
    policies = call("efs", "describe_lifecycle_configuration", FileSystemId=call.id).get("LifecyclePolicies") or []
    names = {"TransitionToIA": "transitionToIa"}
    return {
        "arn": one.get("FileSystemArn") or call.arn("elasticfilesystem", f"file-system/{call.id}"),
        "creationToken": one["CreationToken"],
        "encrypted": bool(one.get("Encrypted")),
        "kmsKeyId": one.get("KmsKeyId"),
        "performanceMode": one.get("PerformanceMode"),
        "throughputMode": one.get("ThroughputMode") or "bursting",
        "provisionedThroughputInMibps": one.get("ProvisionedThroughputInMibps"),
        "dnsName": f"{call.id}.efs.{call.region}.amazonaws.com",
        "numberOfMountTargets": one.get("NumberOfMountTargets", 0),
        "ownerId": one["OwnerId"],
        "name": one.get("Name"),
        "lifecyclePolicies": [
            {names.get(key) or key[0].lower() + key[1:]: item for key, item in policy.items()} for policy in policies
        ]
        or None,
        "tagsAll": tags_of(one.get("Tags")),
    }


def _delete_system(call: Call) -> None:
    call.find(GONE, "efs", "delete_file_system", FileSystemId=call.id)


def _create_target(call: Call) -> str:
    given = compact(
        FileSystemId=call.inputs["fileSystemId"],
        SubnetId=call.inputs["subnetId"],
        IpAddress=call.inputs.get("ipAddress"),
        SecurityGroups=call.inputs.get("securityGroups"),
    )
    return call("efs", "create_mount_target", **given)["MountTargetId"]


def _update_target(call: Call) -> None:
    if call.state and call.changed("securityGroups"):
        groups = call.inputs.get("securityGroups") or []
        call("efs", "modify_mount_target_security_groups", MountTargetId=call.id, SecurityGroups=groups)


def _target(call: Call) -> dict[str, Any] | None:
    answer = call.find(GONE, "efs", "describe_mount_targets", MountTargetId=call.id)
    return next(iter((answer or {}).get("MountTargets", [])), None)


def _read_target(call: Call) -> Props | None:
    one = _target(call)
    if one is None:
        return None
    groups = call("efs", "describe_mount_target_security_groups", MountTargetId=call.id)["SecurityGroups"]
    system = one["FileSystemId"]
    return {
        "fileSystemId": system,
        "fileSystemArn": call.arn("elasticfilesystem", f"file-system/{system}"),
        "subnetId": one["SubnetId"],
        "ipAddress": one.get("IpAddress"),
        "securityGroups": groups or [],
        "networkInterfaceId": one.get("NetworkInterfaceId"),
        "availabilityZoneName": one.get("AvailabilityZoneName"),
        "availabilityZoneId": one.get("AvailabilityZoneId"),
        "dnsName": f"{system}.efs.{call.region}.amazonaws.com",
        "mountTargetDnsName": f"{one.get('AvailabilityZoneName')}.{system}.efs.{call.region}.amazonaws.com",
        "ownerId": one.get("OwnerId"),
    }


def _delete_target(call: Call) -> None:
    if call.find(GONE, "efs", "delete_mount_target", MountTargetId=call.id) is not None:
        call.wait(f"mount target {call.id} is gone", lambda: _target(call) is None, READY_SECONDS)


def _create_point(call: Call) -> str:
    given = compact(
        ClientToken=call.inputs.get("clientToken"),
        FileSystemId=call.inputs["fileSystemId"],
        PosixUser=pascal(call.inputs.get("posixUser")),
        RootDirectory=pascal(call.inputs.get("rootDirectory")),
        Tags=tag_list(call.tags),
    )
    return call("efs", "create_access_point", **given)["AccessPointId"]


def _read_point(call: Call) -> Props | None:
    answer = call.find(GONE, "efs", "describe_access_points", AccessPointId=call.id)
    one = next(iter((answer or {}).get("AccessPoints", [])), None)
    if one is None:
        return None
    user, root = one.get("PosixUser") or {}, one.get("RootDirectory") or {}
    made = root.get("CreationInfo") or {}
    return {
        "arn": one["AccessPointArn"],
        "fileSystemId": one["FileSystemId"],
        "fileSystemArn": call.arn("elasticfilesystem", f"file-system/{one['FileSystemId']}"),
        "ownerId": one.get("OwnerId"),
        "posixUser": {name[0].lower() + name[1:]: item for name, item in user.items()} or None,
        "rootDirectory": {
            "path": root.get("Path", "/"),
            **({"creationInfo": {name[0].lower() + name[1:]: item for name, item in made.items()}} if made else {}),
        },
        "tagsAll": tags_of(one.get("Tags")),
    }


def _delete_point(call: Call) -> None:
    call.find(GONE, "efs", "delete_access_point", AccessPointId=call.id)


ROWS = (
    Kind(
        token="aws:efs/fileSystem:FileSystem",
        create=_create_system,
        read=_read_system,
        update=_update_system,
        delete=_delete_system,
        fixed=frozenset({"availabilityZoneName", "creationToken", "encrypted", "kmsKeyId", "performanceMode"}),
        named="creationToken",
        prefix="",
        defaults={"throughputMode": "bursting"},
    ),
    Kind(
        token="aws:efs/mountTarget:MountTarget",
        create=_create_target,
        read=_read_target,
        update=_update_target,
        delete=_delete_target,
        fixed=frozenset({"fileSystemId", "subnetId", "ipAddress", "ipAddressType"}),
    ),
    Kind(
        token="aws:efs/accessPoint:AccessPoint",
        create=_create_point,
        read=_read_point,
        update=_retag,
        delete=_delete_point,
        fixed=frozenset({"fileSystemId", "posixUser", "rootDirectory"}),
    ),
)
