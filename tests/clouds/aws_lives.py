"""The life of one resource of each type of the aws plugin: what it is made with, changed to, and replaced by.

Values like `${role.arn}` are properties of the resources before; `${role}` is an id. The order is that of creation.
"""

import json
from dataclasses import dataclass, field
from typing import Any

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Life:
    """`changed` and `replaced` are inputs over the first ones; None takes one away."""

    token: str
    name: str
    first: Inputs
    changed: Inputs = field(default_factory=dict)
    replaced: Inputs = field(default_factory=dict)
    imported: str = "${self}"
    """The id to import it by."""
    told: tuple[str, ...] = ()
    """Inputs that no answer tells, so that an import misses them."""


def document(action: str, **more: Any) -> str:
    """A policy of one statement."""
    statement = {"Effect": "Allow", "Action": [action], "Resource": ["*"], **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


ANYBODY = {"Principal": "*"}
PATH = "/keystone/dev/"
IDENTITY = [
    Life(
        "aws:iam/policy:Policy",
        "bound",
        {"policy": document("s3:GetObject"), "path": PATH},
        {"policy": document("s3:PutObject"), "tags": {"a": "b"}},
        {"description": "another"},
    ),
    Life(
        "aws:iam/role:Role",
        "role",
        {"assumeRolePolicy": trust("ec2.amazonaws.com"), "path": PATH, "permissionsBoundary": "${bound.arn}"},
        {
            "assumeRolePolicy": trust("events.amazonaws.com"),
            "permissionsBoundary": None,
            "maxSessionDuration": 7200,
            "tags": {"a": "b"},
        },
        {"path": "/"},
    ),
    Life(
        "aws:iam/rolePolicy:RolePolicy",
        "rights",
        {"role": "${role.name}", "policy": document("ssm:GetParameter")},
        {"policy": document("ssm:PutParameter")},
        {"name": "other"},
    ),
    Life(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "attached",
        {"role": "${role.name}", "policyArn": "${bound.arn}"},
    ),
    Life(
        "aws:iam/instanceProfile:InstanceProfile",
        "profile",
        {"role": "${role.name}", "path": PATH},
        {"tags": {"a": "b"}},
        {"path": "/"},
    ),
    Life(
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "issuer",
        {"url": "https://issuer.example.org", "clientIdLists": ["sts.amazonaws.com"]},
        {"tags": {"a": "b"}},
        {"url": "https://other.example.org"},
    ),
]
SECRETS = [
    Life(
        "aws:kms/key:Key",
        "key",
        {
            "policy": document("kms:*", **ANYBODY),
            "enableKeyRotation": True,
            "deletionWindowInDays": 7,
            "description": "k",
        },
        {"description": "k2", "rotationPeriodInDays": 180, "tags": {"a": "b"}},
        {"keyUsage": "SIGN_VERIFY", "customerMasterKeySpec": "ECC_NIST_P256", "enableKeyRotation": None},
        told=("deletionWindowInDays", "rotationPeriodInDays"),
    ),
    Life("aws:kms/alias:Alias", "alias", {"name": "alias/dev", "targetKeyId": "${key.keyId}"}, {}, {"name": "alias/b"}),
    Life(
        "aws:ssm/parameter:Parameter",
        "token",
        {"name": "/dev/token", "type": "SecureString", "keyId": "${key.arn}", "valueWo": "hush", "valueWoVersion": 1},
        {"valueWo": "hush again", "valueWoVersion": 2, "tags": {"a": "b"}},
        {"name": "/dev/other"},
        told=("valueWo", "valueWoVersion"),
    ),
    Life(
        "aws:ssm/parameter:Parameter",
        "value",
        {"name": "/dev/value", "type": "SecureString", "value": "hush"},
        {"value": "hush again", "description": "d"},
    ),
]
BUCKET = {"bucket": "${bucket.bucket}"}
RULE = {
    "id": "old",
    "status": "Enabled",
    "filter": {"prefix": "etcd/"},
    "expiration": {"days": 90},
    "noncurrentVersionExpiration": {"noncurrentDays": 31, "newerNoncurrentVersions": 3},
    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
}
COLD = {"noncurrentVersionTransitions": [{"noncurrentDays": 30, "storageClass": "GLACIER"}]}
SSE = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "${key.arn}"}
BUCKETS = [
    Life(
        "aws:s3/bucket:Bucket",
        "bucket",
        {"objectLockEnabled": True},
        {"tags": {"a": "b"}, "forceDestroy": True},
        {"bucket": "another-one"},
        told=("forceDestroy",),
    ),
    Life(
        "aws:s3/bucketPolicy:BucketPolicy",
        "policy",
        {**BUCKET, "policy": document("s3:GetObject", **ANYBODY)},
        {"policy": document("s3:PutObject", **ANYBODY)},
    ),
    Life(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "closed",
        {**BUCKET, "blockPublicAcls": True, "blockPublicPolicy": True, "ignorePublicAcls": True},
        {"restrictPublicBuckets": True},
    ),
    Life(
        "aws:s3/bucketVersioning:BucketVersioning",
        "versions",
        {**BUCKET, "versioningConfiguration": {"status": "Enabled"}},
    ),
    Life(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "encryption",
        {**BUCKET, "rules": [{"applyServerSideEncryptionByDefault": SSE}]},
        {"rules": [{"applyServerSideEncryptionByDefault": SSE, "bucketKeyEnabled": True}]},
    ),
    Life(
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
        "lock",
        {**BUCKET, "rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 30}}},
        {"rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 31}}},
    ),
    Life(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "owner",
        {**BUCKET, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    Life(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aging",
        {**BUCKET, "rules": [RULE, {"id": "all", "status": "Enabled", "filter": {}, **COLD}]},
        {"rules": [{**RULE, "expiration": {"days": 91}}]},
    ),
    Life(
        "aws:s3/bucketObjectv2:BucketObjectv2",
        "object",
        {**BUCKET, "key": ".well-known/openid-configuration", "content": "{}", "contentType": "application/json"},
        {"content": '{"a": 1}', "cacheControl": "max-age=60", "forceDestroy": True},
        {"key": "elsewhere"},
        "${bucket}/${self.key}",
        ("content", "forceDestroy"),
    ),
]
GET = ["GET", "HEAD"]
WEB = [
    Life(
        "aws:acm/certificate:Certificate",
        "certificate",
        {"domainName": "issuer.example.org", "validationMethod": "DNS", "region": "us-east-1"},
        {"tags": {"a": "b"}},
        {"domainName": "other.example.org"},
    ),
    Life(
        "aws:cloudfront/originAccessControl:OriginAccessControl",
        "access",
        {"originAccessControlOriginType": "s3", "signingBehavior": "always", "signingProtocol": "sigv4"},
        {"description": "reads the documents"},
    ),
    Life(
        "aws:cloudfront/distribution:Distribution",
        "documents",
        {
            "enabled": True,
            "aliases": ["issuer.example.org"],
            "origins": [
                {
                    "originId": "docs",
                    "domainName": "${bucket.bucketRegionalDomainName}",
                    "originAccessControlId": "${access}",
                }
            ],
            "defaultCacheBehavior": {
                "targetOriginId": "docs",
                "viewerProtocolPolicy": "https-only",
                "allowedMethods": GET,
                "cachedMethods": GET,
                "cachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
            },
            "restrictions": {"geoRestriction": {"restrictionType": "none"}},
            "viewerCertificate": {
                "acmCertificateArn": "${certificate.arn}",
                "sslSupportMethod": "sni-only",
                "minimumProtocolVersion": "TLSv1.2_2021",
            },
            "priceClass": "PriceClass_100",
            "isIpv6Enabled": True,
        },
        {"comment": "documents", "tags": {"a": "b"}},
    ),
]
NETWORK = [
    Life(
        "aws:ec2/vpc:Vpc",
        "vpc",
        {"cidrBlock": "10.60.0.0/20", "enableDnsHostnames": True},
        {"enableDnsHostnames": False, "tags": {"Name": "v"}},
        {"cidrBlock": "10.61.0.0/20"},
    ),
    Life(
        "aws:ec2/subnet:Subnet",
        "subnet",
        {"vpcId": "${vpc}", "cidrBlock": "10.60.0.0/24", "availabilityZone": "eu-central-1a"},
        {"mapPublicIpOnLaunch": True, "tags": {"Name": "s"}},
        {"cidrBlock": "10.60.2.0/24"},
    ),
    Life("aws:ec2/internetGateway:InternetGateway", "gateway", {"vpcId": "${vpc}"}, {"tags": {"Name": "g"}}),
    Life("aws:ec2/eip:Eip", "address", {"domain": "vpc"}, {"tags": {"Name": "a"}}),
    Life(
        "aws:ec2/natGateway:NatGateway",
        "nat",
        {"subnetId": "${subnet}", "allocationId": "${address}"},
        {"tags": {"Name": "n"}},
    ),
    Life("aws:ec2/routeTable:RouteTable", "table", {"vpcId": "${vpc}"}, {"tags": {"Name": "t"}}),
    Life(
        "aws:ec2/route:Route",
        "route",
        {"routeTableId": "${table}", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "${gateway}"},
        {"gatewayId": None, "natGatewayId": "${nat}"},
        {"destinationCidrBlock": "192.0.2.0/24"},
        "${table}_0.0.0.0/0",
    ),
    Life(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "association",
        {"routeTableId": "${table}", "subnetId": "${subnet}"},
        imported="${subnet}/${table}",
    ),
    Life(
        "aws:ec2/securityGroup:SecurityGroup",
        "group",
        {"vpcId": "${vpc}", "description": "machines"},
        {"tags": {"Name": "x"}},
        {"description": "other"},
    ),
    Life(
        "aws:ec2/securityGroup:SecurityGroup",
        "inline",
        {
            "vpcId": "${vpc}",
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            "ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "self": True}],
        },
        {"egress": [{"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["0.0.0.0/0"]}], "ingress": []},
    ),
    Life(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "out",
        {"securityGroupId": "${group}", "ipProtocol": "udp", "fromPort": 3478, "toPort": 3478, "cidrIpv4": "0.0.0.0/0"},
        {"tags": {"Name": "stun"}},
        {"toPort": 3479},
    ),
    Life(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "in",
        {"securityGroupId": "${group}", "ipProtocol": "-1", "referencedSecurityGroupId": "${inline}"},
        {"tags": {"Name": "all"}},
    ),
    Life(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "endpoint",
        {"vpcId": "${vpc}", "serviceName": "com.amazonaws.eu-central-1.s3", "routeTableIds": ["${table}"]},
        {"tags": {"Name": "e"}},
    ),
]
MACHINES = [
    Life(
        "aws:ec2/launchTemplate:LaunchTemplate",
        "template",
        {
            "imageId": "ami-0123456789abcdef0",
            "vpcSecurityGroupIds": ["${group}"],
            "iamInstanceProfile": {"arn": "${profile.arn}"},
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1, "httpEndpoint": "enabled"},
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvda",
                    "ebs": {"encrypted": "true", "kmsKeyId": "${key.arn}", "volumeSize": 30, "volumeType": "gp3"},
                }
            ],
            "userData": "YQ==",
            "tagSpecifications": [{"resourceType": "instance", "tags": {"keystone-parameters": "/p"}}],
            "updateDefaultVersion": True,
        },
        {"userData": "Yg==", "tags": {"a": "b"}},
        {"name": "other"},
        told=("updateDefaultVersion",),
    ),
    Life(
        "aws:autoscaling/group:Group",
        "pool",
        {
            "minSize": 0,
            "maxSize": 3,
            "desiredCapacity": 2,
            "vpcZoneIdentifiers": ["${subnet}"],
            "mixedInstancesPolicy": {
                "launchTemplate": {
                    "launchTemplateSpecification": {"launchTemplateId": "${template}", "version": "$Latest"},
                    "overrides": [{"instanceType": "t3.medium"}, {"instanceType": "t3a.medium"}],
                },
                "instancesDistribution": {"onDemandBaseCapacity": 1, "onDemandPercentageAboveBaseCapacity": 0},
            },
            "capacityRebalance": True,
            "suspendedProcesses": ["AZRebalance"],
            "initialLifecycleHooks": [
                {
                    "name": "drain",
                    "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                    "heartbeatTimeout": 300,
                }
            ],
            "tags": [{"key": "Name", "value": "x", "propagateAtLaunch": True}],
        },
        {"maxSize": 5, "desiredCapacity": 3, "tags": [{"key": "Name", "value": "y", "propagateAtLaunch": False}]},
        {"name": "other"},
        told=("initialLifecycleHooks", "waitForCapacityTimeout"),
    ),
    Life(
        "aws:autoscaling/lifecycleHook:LifecycleHook",
        "hook",
        {
            "autoscalingGroupName": "${pool.name}",
            "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "defaultResult": "CONTINUE",
        },
        {"heartbeatTimeout": 400},
        {"name": "other"},
        "${pool.name}/${self}",
    ),
]
PATTERN = {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]}
MESSAGES = [
    Life(
        "aws:sqs/queue:Queue",
        "queue",
        {"messageRetentionSeconds": 300, "kmsMasterKeyId": "${key.arn}"},
        {"messageRetentionSeconds": 400, "tags": {"a": "b"}},
        {"name": "other"},
    ),
    Life(
        "aws:sqs/queuePolicy:QueuePolicy",
        "senders",
        {"queueUrl": "${queue}", "policy": document("sqs:SendMessage", **ANYBODY)},
        {"policy": document("sqs:*", **ANYBODY)},
    ),
    Life(
        "aws:cloudwatch/eventRule:EventRule",
        "rule",
        {"eventPattern": json.dumps(PATTERN)},
        {"description": "d", "tags": {"a": "b"}},
        {"name": "other"},
    ),
    Life(
        "aws:cloudwatch/eventTarget:EventTarget",
        "target",
        {"rule": "${rule.name}", "arn": "${queue.arn}"},
        {"input": "{}"},
        {"targetId": "other"},
        "${rule.name}/${self.targetId}",
    ),
]
FILES = [
    Life(
        "aws:efs/fileSystem:FileSystem",
        "files",
        {"encrypted": True, "kmsKeyId": "${key.arn}"},
        {"lifecyclePolicies": [{"transitionToIa": "AFTER_30_DAYS"}], "tags": {"a": "b"}},
        {"performanceMode": "maxIO"},
    ),
    Life(
        "aws:efs/mountTarget:MountTarget",
        "mount",
        {"fileSystemId": "${files}", "subnetId": "${subnet}", "securityGroups": ["${group}"]},
        {"securityGroups": ["${inline}"]},
    ),
    Life(
        "aws:efs/accessPoint:AccessPoint",
        "point",
        {"fileSystemId": "${files}", "posixUser": {"uid": 1000, "gid": 1000}, "rootDirectory": {"path": "/x"}},
        {"tags": {"a": "b"}},
        {"posixUser": {"uid": 1001, "gid": 1000}},
    ),
]
LIVES = [*IDENTITY, *SECRETS, *BUCKETS, *WEB, *NETWORK, *MACHINES, *MESSAGES, *FILES]
ELSEWHERE = {"aws:acm/certificateValidation:CertificateValidation", "aws:route53/record:Record"}
"""Types with a test of their own: one waits for a minute, the other needs a zone that no row makes."""
