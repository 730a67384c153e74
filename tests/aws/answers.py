"""What AWS would answer to the recording engine: ARNs by the names that the program gives, and what only AWS knows."""

from typing import Any

ACCOUNT, REGION = "123456789012", "eu-central-1"


def answers(kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a resource besides its inputs."""
    module, name = kind.split(":")[1].partition("/")[0], kind.rpartition(":")[2]
    called = inputs.get("name") or inputs.get("bucket") or inputs.get("url") or "made"
    found: dict[str, Any] = {"arn": arn(module, name, inputs.get("path", "/"), str(called))}
    if name == "Certificate":
        found["domainValidationOptions"] = [
            {
                "domainName": inputs["domainName"],
                "resourceRecordName": f"_0123.{inputs['domainName']}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": "_4567.acm-validations.aws.",
            }
        ]
    if name == "CertificateValidation":
        found = {}
    if name == "Distribution":
        found |= {"domainName": "d111111abcdef8.cloudfront.net", "hostedZoneId": "Z2FDTNDATAQYW2"}
    if name == "Bucket":
        found["bucketRegionalDomainName"] = f"{called}.s3.{REGION}.amazonaws.com"
    if name == "Queue":
        found["url"] = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{called}"
    return found


def arn(module: str, kind: str, path: str, name: str) -> str:
    """An ARN of the kind's form; IAM's have the path."""
    if module == "iam":
        words = {"Role": "role", "Policy": "policy", "InstanceProfile": "instance-profile"}
        if kind == "OpenIdConnectProvider":
            return f"arn:aws:iam::{ACCOUNT}:oidc-provider/{name.removeprefix('https://')}"
        return f"arn:aws:iam::{ACCOUNT}:{words.get(kind, kind)}{path}{name}"
    return f"arn:aws:{module}:{REGION}:{ACCOUNT}:{name}"
