"""The life of one resource of each type of the aws plugin: what it is made with, changed to, and replaced by.

Values like `${role.arn}` are properties of the resources before; `${role}` is an id. The order is that of creation.
"""

import json

from tests.clouds.aws_life import Life, document, trust
from tests.clouds.aws_lives_ec2 import MACHINES, NETWORK

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
