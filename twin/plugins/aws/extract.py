"""Reads the properties of our resource types from the Pulumi SDK: `python -m twin.plugins.aws.extract`.

The SDK takes seconds to import, so the plugin reads the result, fields.json, which a test holds equal. There a type
is `string`, `bool`, `number` or `any`; a list of one type; `{"map": type}`; or `{"fields": ..., "required": ...}`.
Choices are those that the SDK's documentation lists, and those of CHOICES, which it words otherwise.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import typing
import warnings
from pathlib import Path
from typing import Any

FIELDS = Path(__file__).with_name("fields.json")
MODULES = {
    "acm": ("Certificate", "CertificateValidation"),
    "autoscaling": ("Group", "LifecycleHook"),
    "cloudfront": ("Distribution", "OriginAccessControl"),
    "cloudwatch": ("EventRule", "EventTarget"),
    "ec2": (
        *("Eip", "InternetGateway", "LaunchTemplate", "NatGateway", "Route", "RouteTable", "RouteTableAssociation"),
        *("SecurityGroup", "Subnet", "Vpc", "VpcEndpoint"),
    ),
    "efs": ("AccessPoint", "FileSystem", "MountTarget"),
    "iam": ("InstanceProfile", "OpenIdConnectProvider", "Policy", "Role", "RolePolicy", "RolePolicyAttachment"),
    "kms": ("Alias", "Key"),
    "route53": ("Record",),
    "s3": (
        *("Bucket", "BucketLifecycleConfiguration", "BucketObjectLockConfiguration", "BucketObjectv2"),
        *("BucketOwnershipControls", "BucketPolicy", "BucketPublicAccessBlock"),
        *("BucketServerSideEncryptionConfiguration", "BucketVersioning"),
    ),
    "sqs": ("Queue", "QueuePolicy"),
    "ssm": ("Parameter",),
    "vpc": ("SecurityGroupEgressRule", "SecurityGroupIngressRule"),
}
SCALARS = {str: "string", bool: "bool", int: "number", float: "number"}
LISTED = re.compile(
    r"(?:valid|allowed|possible|available)[^.]{0,30}(?:values?|options?)[^`]{0,40}((?:`[^`]+`[^`]{0,12})+)", re.I
)
NO_CHOICES = ("SecurityGroup.egress.protocol", "SecurityGroup.ingress.protocol")
"""Where the words in backticks are names of other properties."""
CHOICES = {
    "Certificate.validationMethod": ["DNS", "EMAIL"],
    "BucketVersioning.versioningConfiguration.status": ["Enabled", "Suspended", "Disabled"],
    "Distribution.defaultCacheBehavior.viewerProtocolPolicy": ["allow-all", "https-only", "redirect-to-https"],
    "Distribution.restrictions.geoRestriction.restrictionType": ["none", "whitelist", "blacklist"],
    "Distribution.viewerCertificate.sslSupportMethod": ["vip", "sni-only", "static-ip"],
    "LaunchTemplate.metadataOptions.httpEndpoint": ["enabled", "disabled"],
    "LaunchTemplate.metadataOptions.httpTokens": ["required", "optional"],
    "LaunchTemplate.metadataOptions.instanceMetadataTags": ["enabled", "disabled"],
    "LifecycleHook.defaultResult": ["CONTINUE", "ABANDON"],
    "LifecycleHook.lifecycleTransition": [
        "autoscaling:EC2_INSTANCE_LAUNCHING",
        "autoscaling:EC2_INSTANCE_TERMINATING",
    ],
    "Parameter.tier": ["Standard", "Advanced", "Intelligent-Tiering"],
    "Parameter.type": ["String", "StringList", "SecureString"],
    "Vpc.instanceTenancy": ["default", "dedicated"],
    "VpcEndpoint.vpcEndpointType": ["Gateway", "GatewayLoadBalancer", "Interface", "Resource", "ServiceNetwork"],
}


def fields_of(kind: Any, place: str) -> dict[str, Any]:
    """The properties of an Args class by their wire names, and which of them are required."""
    from pulumi import _types

    python_names = {wire: name for name, wire in _types.input_type_py_to_pulumi_names(kind).items()}
    parameters = inspect.signature(kind.__init__).parameters
    fields, required, choices = {}, [], {}
    for wire, annotation in _types.input_type_types(kind).items():
        name, here = python_names[wire], f"{place}.{wire}"
        fields[wire] = _type(annotation, here)
        if name in parameters and parameters[name].default is inspect.Parameter.empty:
            required.append(wire)
        words = _choices(inspect.getdoc(getattr(kind, name)) or "", here)
        if words and fields[wire] in ("string", ["string"]):
            choices[wire] = words
    found = {"fields": fields, "required": required, "choices": choices}
    return {key: item for key, item in found.items() if item}


def _choices(text: str, place: str) -> list[str]:
    if place in CHOICES:
        return CHOICES[place]
    listed = LISTED.search(text)
    words = re.findall(r"`([^`]+)`", listed[1]) if listed and place not in NO_CHOICES else []
    words = list(dict.fromkeys(word.strip('"') for word in words))
    return words if len(words) > 1 else []


def _type(annotation: Any, place: str) -> Any:
    from pulumi import _types

    bare = _bare(annotation)
    if bare in SCALARS:
        return SCALARS[bare]
    if _types.is_input_type(bare):
        return fields_of(bare, place)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is not None and issubclass(origin, typing.Mapping):
        return {"map": _type(arguments[1], place)}
    if origin is not None and issubclass(origin, typing.Sequence):
        return [_type(arguments[0], place)]
    return "any"


def _bare(annotation: Any) -> Any:
    """The plain type of an `Input[...]`: its first alternative."""
    if typing.get_origin(annotation) is typing.Union:
        return _bare(typing.get_args(annotation)[0])
    return annotation


def extract() -> dict[str, Any]:
    """Inputs and outputs of every type in MODULES, by its token."""
    found = {}
    with warnings.catch_warnings():
        # The SDK warns of its own old names as it is imported.
        warnings.simplefilter("ignore", DeprecationWarning)
        for service, names in MODULES.items():
            package = importlib.import_module(f"pulumi_aws.{service}")
            for name in names:
                resource = getattr(package, name)
                module = sys.modules[resource.__module__]
                # A nested type may have the plain name already (BucketVersioningArgs).
                arguments = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
                inputs = fields_of(arguments, name)
                state = fields_of(getattr(module, f"_{name}State"), name)["fields"]
                outputs = {wire: field for wire, field in state.items() if wire not in inputs["fields"]}
                found[resource.pulumi_type] = {"inputs": inputs, "outputs": outputs}
    return found


def text() -> str:
    """fields.json as it is checked in: one line per type."""
    lines = [f"{json.dumps(token)}: {json.dumps(kind, sort_keys=True)}" for token, kind in sorted(extract().items())]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FIELDS.write_text(text())
