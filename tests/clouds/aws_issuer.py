"""An OIDC issuer at the twin's AWS, as the program makes it, and tokens of it."""

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keystone import iam, issuer
from keystone.identities import Identities
from tests.clouds.aws import ACCOUNT, REGION, AwsCloud

HOST = "issuer.example.org"
AUDIENCE = "sts.amazonaws.com"
SUBJECT = "system:serviceaccount:keystone-system:pool-keys"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
PARAMETER = "/keystone/dev/pools/spot/mesh-key"
IDENTITIES = Identities("11" * 32, "dev")


def put_issuer(cloud: AwsCloud, host: str, identities: Identities) -> None:
    """Bucket, distribution and identity provider of an issuer."""
    s3, front, roles = cloud.client("s3"), cloud.client("cloudfront"), cloud.client("iam")
    s3.create_bucket(Bucket="documents", CreateBucketConfiguration={"LocationConstraint": REGION})
    for path, text in issuer.documents(host, identities, [1]).items():
        s3.put_object(Bucket="documents", Key=path, Body=text.encode())
    behavior = {"TargetOriginId": "docs", "ViewerProtocolPolicy": "https-only"}
    origin = {
        "Id": "docs",
        "DomainName": f"documents.s3.{REGION}.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    config = {
        "CallerReference": "one",
        "Aliases": {"Quantity": 1, "Items": [host]},
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": behavior,
        "Comment": "",
        "Enabled": True,
    }
    made = front.create_distribution(DistributionConfig=config)["Distribution"]
    s3.put_bucket_policy(Bucket="documents", Policy=json.dumps(readable_by(made["ARN"])))
    roles.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=[AUDIENCE])


def publish(cloud: AwsCloud) -> None:
    """The issuer, and a role that a token of it gets."""
    put_issuer(cloud, HOST, IDENTITIES)
    roles = cloud.client("iam")
    trust = iam.web_identity_trust(PROVIDER, HOST, SUBJECT)
    roles.create_role(RoleName="pool-keys", AssumeRolePolicyDocument=trust)
    mine = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{PARAMETER}"
    put = iam.Statement(sid="Put", actions=["ssm:PutParameter"], resources=[mine], reason="test")
    roles.put_role_policy(RoleName="pool-keys", PolicyName="put", PolicyDocument=iam.document([put]))


def readable_by(distribution: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::documents/*",
        "Condition": {"StringEquals": {"AWS:SourceArn": distribution}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def token(generation: int = 1, *, alg: str = "ES256", **changes: Any) -> str:
    """A token as the API server signs it; claims may be changed, None leaves one out."""
    key = load_pem_private_key(IDENTITIES.service_account_key(generation).encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = int(time.time())
    claims = {"iss": f"https://{HOST}", "aud": [AUDIENCE], "sub": SUBJECT, "iat": now, "nbf": now, "exp": now + 3600}
    claims = {name: item for name, item in {**claims, **changes}.items() if item is not None}
    signed = f"{encoded({'alg': alg, 'kid': issuer.key_id(key.public_key())})}.{encoded(claims)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{plain(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def encoded(value: Any) -> str:
    return plain(json.dumps(value).encode())


def plain(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def assume(cloud: AwsCloud, text: str, role: str = "pool-keys", **more: Any) -> Any:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    sts = cloud.client("sts")
    return sts.assume_role_with_web_identity(RoleArn=arn, RoleSessionName="test", WebIdentityToken=text, **more)
