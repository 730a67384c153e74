"""Launch templates of EC2."""

from __future__ import annotations

from typing import Any

from twin.plugins.aws.kinds import Call, Kind
from twin.plugins.aws.rows.ec2 import describe, retag, specification
from twin.plugins.aws.values import Props, camel, compact, covers, pascal, tag_list, tags_of

NAMES = {
    "vpcSecurityGroupIds": "SecurityGroupIds",
    "securityGroupNames": "SecurityGroups",
    "ramDiskId": "RamDiskId",
    "securityGroups": "Groups",
    "ipv4Addresses": "PrivateIpAddresses",
    "ipv6AddressCount": "Ipv6AddressCount",
    "enableResourceNameDnsARecord": "EnableResourceNameDnsARecord",
    "enableResourceNameDnsAaaaRecord": "EnableResourceNameDnsAAAARecord",
    "volumeInitializationRate": "VolumeInitializationRate",
    "httpProtocolIpv6": "HttpProtocolIpv6",
    "vcpuCount": "VCpuCount",
    "memoryMib": "MemoryMiB",
    "memoryGibPerVcpu": "MemoryGiBPerVCpu",
    "totalLocalStorageGb": "TotalLocalStorageGB",
    "acceleratorTotalMemoryMib": "AcceleratorTotalMemoryMiB",
}
TEXT_BOOLEANS = (
    "deleteOnTermination",
    "encrypted",
    "associatePublicIpAddress",
    "associateCarrierIpAddress",
    "ebsOptimized",
)
DATA = (
    *("blockDeviceMappings", "capacityReservationSpecification", "cpuOptions", "creditSpecification", "disableApiStop"),
    *("disableApiTermination", "ebsOptimized", "enclaveOptions", "hibernationOptions", "iamInstanceProfile", "imageId"),
    *("instanceInitiatedShutdownBehavior", "instanceMarketOptions", "instanceRequirements", "instanceType", "kernelId"),
    *("keyName", "licenseSpecifications", "maintenanceOptions", "metadataOptions", "monitoring", "networkInterfaces"),
    *("placement", "privateDnsNameOptions", "ramDiskId", "securityGroupNames", "tagSpecifications", "userData"),
    "vpcSecurityGroupIds",
)
"""Inputs that are a version's; a change of one makes a new version."""


def _data(inputs: Props) -> dict[str, Any]:
    given = {name: _booleans(inputs[name]) for name in DATA if inputs.get(name) is not None}
    tags = given.pop("tagSpecifications", None)
    data = pascal(given, NAMES)
    if tags:
        data["TagSpecifications"] = [
            {"ResourceType": one["resourceType"], "Tags": tag_list(one.get("tags") or {})} for one in tags
        ]
    return data


def _booleans(value: Any) -> Any:
    """The SDK has some booleans as text."""
    if isinstance(value, dict):
        return {
            key: item == "true" if key in TEXT_BOOLEANS and isinstance(item, str) else _booleans(item)
            for key, item in value.items()
        }
    return [_booleans(item) for item in value] if isinstance(value, list) else value


def _create(call: Call) -> str:
    given = compact(
        LaunchTemplateName=call.inputs["name"],
        VersionDescription=call.inputs.get("description"),
        LaunchTemplateData=_data(call.inputs),
        **specification("launch-template", call.tags),
    )
    return call("ec2", "create_launch_template", **given)["LaunchTemplate"]["LaunchTemplateId"]


def _update(call: Call) -> None:
    if not call.state:
        return
    default = call.inputs.get("defaultVersion")
    if call.changed(*DATA, "description"):
        more = compact(VersionDescription=call.inputs.get("description"))
        answer = call(
            "ec2",
            "create_launch_template_version",
            LaunchTemplateId=call.id,
            LaunchTemplateData=_data(call.inputs),
            **more,
        )
        if call.inputs.get("updateDefaultVersion"):
            default = answer["LaunchTemplateVersion"]["VersionNumber"]
    if default is not None and default != call.state.get("defaultVersion"):
        call("ec2", "modify_launch_template", LaunchTemplateId=call.id, DefaultVersion=str(int(default)))
    retag(call)


def _read(call: Call) -> Props | None:
    template = describe(call, "launch_templates", "LaunchTemplateIds", call.id)
    if template is None:
        return None
    latest = template["LatestVersionNumber"]
    answer = call("ec2", "describe_launch_template_versions", LaunchTemplateId=call.id, Versions=[str(latest)])
    version = answer["LaunchTemplateVersions"][0]
    data = version["LaunchTemplateData"]
    found: Props = dict.fromkeys(DATA)
    # moto counts the template's own tags among those of what it launches.
    tags = [one for one in data.pop("TagSpecifications", None) or [] if one["ResourceType"] != "launch-template"]
    found |= camel(data, NAMES)
    if tags:
        found["tagSpecifications"] = [
            {"resourceType": one["ResourceType"], "tags": tags_of(one.get("Tags"))} for one in tags
        ]
    # moto's answer about a template has the tags that it began with.
    mine = [{"Name": "resource-id", "Values": [call.id]}]
    return {
        **found,
        "arn": call.arn("ec2", f"launch-template/{call.id}"),
        "name": template["LaunchTemplateName"],
        "description": version.get("VersionDescription") or None,
        "latestVersion": latest,
        "defaultVersion": template["DefaultVersionNumber"],
        "tagsAll": tags_of(call("ec2", "describe_tags", Filters=mine)["Tags"]),
    }


def _delete(call: Call) -> None:
    if describe(call, "launch_templates", "LaunchTemplateIds", call.id) is not None:
        call("ec2", "delete_launch_template", LaunchTemplateId=call.id)


def _same(name: str, have: Any, want: Any) -> bool:
    return name in DATA and covers(_booleans(have), _booleans(want))


def _check(inputs: Any) -> list[tuple[str, str]]:
    if inputs.get("defaultVersion") is not None and inputs.get("updateDefaultVersion") is not None:
        return [("defaultVersion", "defaultVersion and updateDefaultVersion exclude each other")]
    return []


ROWS = (
    Kind(
        token="aws:ec2/launchTemplate:LaunchTemplate",
        create=_create,
        read=_read,
        update=_update,
        delete=_delete,
        fixed=frozenset({"name"}),
        named="name",
        longest=125,
        here_only=frozenset({"updateDefaultVersion"}),
        moving=frozenset({"latestVersion", "defaultVersion"}),
        check=_check,
        same=_same,
    ),
)
