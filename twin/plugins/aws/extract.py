"""Reads the properties of our resource types from the Pulumi SDK: `python -m twin.plugins.aws.extract`.

The SDK takes seconds to import, so the plugin reads the result, fields.json, which a test holds equal. There a type
is `string`, `bool`, `number` or `any`; a list of one type; `{"map": type}`; or `{"fields": ..., "required": ...}`.
Choices are those that the SDK's documentation lists, and those of CHOICES, which it words otherwise.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from twin.plugins.annotations import SCALARS, bare, inner, properties

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
    fields, required, choices = {}, [], {}
    for one in properties(kind):
        here = f"{place}.{one.wire}"
        fields[one.wire] = _type(one.annotation, here)
        if one.required:
            required.append(one.wire)
        words = _choices(one.text, here)
        if words and fields[one.wire] in ("string", ["string"]):
            choices[one.wire] = words
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
    plain = bare(annotation)
    if plain in SCALARS:
        return SCALARS[plain]
    what, items = inner(plain)
    if what == "object":
        return fields_of(items, place)
    if what == "map":
        return {"map": _type(items, place)}
    return [_type(items, place)] if what == "list" else what


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
