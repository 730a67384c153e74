"""No static keys: no user at AWS, no key in a provider, trust that names who may use it."""

from typing import Any

from judging.credentials import names_something
from judging.kinds import component, custom, sdk
from judging.resource import Resource, document, is_list, is_loopback, is_map, maps, read
from judging.rule import ABSENT, CRITICAL, HIGH, Finding, Findings, rule, show

from rules import charts
from rules.documents import actions, allows, conditions, many, principals, statements

AWS_PROVIDER = sdk("pulumi_aws", "Provider")
CLOUDFLARE_PROVIDER = sdk("pulumi_cloudflare", "Provider")
STATIC = ("accessKey", "secretKey", "token")
# A condition on one of these names who a wildcard principal is.
NARROWING = (
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:sourcearn",
    "aws:sourceaccount",
    "kms:calleraccount",
)
KEY_WORDS = ("accesskey", "accesskeyid", "secretkey", "secretaccesskey", "awsaccesskeyid", "awssecretaccesskey")
_SOURCES = {
    "aws": ("IRSA", "WebIdentity", "PodIdentity"),
    "azure": ("OIDCTokenFile", "UserAssignedManagedIdentity", "SystemAssignedManagedIdentity"),
    # The file says how a token becomes an account; what a ConfigMap holds of keys has a rule of its own.
    "gcp": ("Filesystem", "InjectedIdentity"),
}
KEYLESS = {
    kind: sources
    for cloud, sources in _SOURCES.items()
    for kind in (
        *custom(f"{cloud}.m.upbound.io/v1beta1", "ClusterProviderConfig", "ProviderConfig"),
        *custom(f"{cloud}.upbound.io/v1beta1", "ProviderConfig"),
    )
}
"""Crossplane's accounts at clouds -> where they may take their credentials from."""
ADMINISTRATOR = ("AdministratorAccess", "IAMFullAccess", "PowerUserAccess")


@rule(
    "no-iam-user",
    "There are no IAM users, nor anything that only users have",
    sdk(
        "pulumi_aws.iam",
        "User",
        "AccessKey",
        "UserLoginProfile",
        "UserPolicy",
        "UserPolicyAttachment",
        "UserGroupMembership",
        "SshKey",
        "ServiceSpecificCredential",
        "SigningCertificate",
    ),
    CRITICAL,
    cure="Use a role: by web identity for pods, hosts and CI, by instance profile for machines at EC2",
    reference="CIS AWS Foundations 3.0.0, 1.18",
)
def no_user(it: Resource) -> Findings:
    yield Finding("the resource", it.kind.rpartition(":")[2], "its keys do not expire")


@rule(
    "provider-no-static-keys",
    "The AWS provider has no static keys",
    AWS_PROVIDER,
    CRITICAL,
    cure="Set aws.credentials to webIdentity or instanceProfile; only a provider whose every endpoint is a loopback "
    "address may have keys",
    reference="CIS AWS Foundations 3.0.0, 1.18",
    guards={"accessKey": ("AKIAIOSFODNN7EXAMPLE",), "secretKey": ("not-a-real-one",), "token": ("not-a-real-one",)},
)
def aws_provider(it: Resource) -> Findings:
    used = [key for key in STATIC if it.at(key)]
    if used and not _all_loopback(it.at("endpoints")):
        for key in used:
            yield Finding(key, "set", "its endpoints are not all loopback addresses")


def _all_loopback(endpoints: object) -> bool:
    """Whether a provider's endpoints, which come as JSON text, are given and all on this machine."""
    found = document(endpoints) if endpoints else None
    if is_map(found):
        found = [found]
    if not is_list(found):
        return False
    addresses = [one for entry in found for one in (entry.values() if is_map(entry) else [entry])]
    return bool(addresses) and all(is_loopback(one) for one in addresses)


@rule(
    "cloudflare-scoped-token",
    "The Cloudflare provider uses a scoped token, never the account's global key",
    CLOUDFLARE_PROVIDER,
    CRITICAL,
    cure="Give api_token a token that may only edit our zone, tunnels and Access",
    reference="OWASP Top 10 2021, A01",
    guards={
        "apiKey": ("0123456789abcdef0123456789abcdef01234",),
        "email": ("owner@example.org",),
        "apiUserServiceKey": ("v1.0-0123456789abcdef",),
        "apiToken": ("", ABSENT),
    },
)
def cloudflare_provider(it: Resource) -> Findings:
    if not it.at("apiToken"):
        yield Finding("apiToken", "not set", "it would take whatever key the environment has")
    for key in ("apiKey", "email", "apiUserServiceKey"):
        if it.at(key):
            yield Finding(key, "set", "the global key may do everything and never ends")


@rule(
    "issuer-scoped-token",
    "An issuer of certificates uses a scoped token of Cloudflare, never the account's global key",
    custom("cert-manager.io/v1", "ClusterIssuer", "Issuer"),
    CRITICAL,
    cure="Name apiTokenSecretRef, with a token that may only edit our zone",
    reference="OWASP Top 10 2021, A01",
    guards={"spec.acme.solvers.0.dns01.cloudflare.apiKeySecretRef": ({"name": "x", "key": "y"},)},
)
def issuer(it: Resource) -> Findings:
    for path, one in it.each("spec.acme.solvers"):
        if read(one, "dns01.cloudflare.apiKeySecretRef"):
            place = f"{path}.dns01.cloudflare.apiKeySecretRef"
            yield Finding(place, "set", "the global key may do everything and never ends")


@rule(
    "chart-no-static-keys",
    "A chart's values carry no static AWS keys",
    charts.CHARTS,
    CRITICAL,
    cure="Annotate the service account with eks.amazonaws.com/role-arn instead; keys for a loopback endpoint are "
    "taken where the endpoint stands beside them",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={
        "spec.values.loki.storage.s3.accessKeyId": ("not-a-real-one",),
        "spec.values.loki.storage.s3.secretAccessKey": ("not-a-real-one",),
        "spec.values.credentials.aws_secret_access_key": ("not-a-real-one",),
        "spec.values.loki.storage.s3.secretKey": ("abc/def+123",),
    },
)
def chart_keys(it: Resource) -> Findings:
    path, values = charts.values(it)
    for place, inner in maps(values, path):
        for key in inner:
            word = str(key).lower().replace("_", "").replace("-", "")
            if word not in KEY_WORDS:
                continue
            value = inner[key]
            if not isinstance(value, str) or not value.strip():
                continue
            # In some charts these say which key of a Secret to read.
            if value.startswith(("$", "{{")) or (word == "secretkey" and names_something(value)):
                continue
            if not is_loopback(inner.get("endpoint")):
                yield Finding(f"{place}.{key}", "set", "static keys are not allowed")


@rule(
    "trust-pinned",
    "Web identities are trusted by exact audience and subject",
    sdk("pulumi_aws.iam", "Role"),
    CRITICAL,
    cure="Give the statement StringEquals conditions on ISSUER:aud and ISSUER:sub with no wildcard in them",
    reference="OWASP Top 10 2021, A07",
    guards={
        "assumeRolePolicy": (
            '{"Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::1:oidc-provider/x"}, '
            '"Action": "sts:AssumeRoleWithWebIdentity"}]}',
            '{"Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::1:oidc-provider/x"}, '
            '"Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"x:aud": "sts.amazonaws.com"}}}'
            "]}",
        )
    },
)
def trust(it: Resource) -> Findings:
    for index, one in enumerate(statements(it.at("assumeRolePolicy"))):
        place = f"assumeRolePolicy.Statement.{index}"
        federated = [p for p in principals(one, "Federated") if p != "cognito-identity.amazonaws.com"]
        if not allows(one) or not (federated or "sts:assumerolewithwebidentity" in actions(one)):
            continue
        for claim in ("aud", "sub"):
            exact = [v for op, key, v in conditions(one) if op == "stringequals" and key.endswith(f":{claim}")]
            values = [value for many_values in exact for value in many_values]
            if not values:
                yield Finding(
                    f"{place}.Condition", f"without StringEquals on :{claim}", f"{claim} must be named exactly"
                )
            elif any("*" in value or "?" in value or not value for value in values):
                yield Finding(
                    f"{place}.Condition", f"a wildcard in :{claim}", "StringEquals takes it literally or not at all"
                )


@rule(
    "trust-no-wildcard",
    "No role can be assumed by everybody",
    sdk("pulumi_aws.iam", "Role"),
    CRITICAL,
    cure="Name the service, the account's role or the OIDC provider as Principal",
    reference="OWASP Top 10 2021, A01",
    guards={
        "assumeRolePolicy": (
            '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}',
            '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}',
        )
    },
)
def trust_wildcard(it: Resource) -> Findings:
    for index, one in enumerate(statements(it.at("assumeRolePolicy"))):
        place = f"assumeRolePolicy.Statement.{index}"
        if allows(one) and (any("*" in name for name in principals(one)) or "NotPrincipal" in one):
            yield Finding(f"{place}.Principal", "a wildcard", "a role must name who may assume it")


DOCUMENTS = {
    kind: key
    for module, name, key in (
        ("pulumi_aws.s3", "BucketPolicy", "policy"),
        ("pulumi_aws.kms", "Key", "policy"),
        ("pulumi_aws.kms", "KeyPolicy", "policy"),
        ("pulumi_aws.sqs", "Queue", "policy"),
        ("pulumi_aws.sqs", "QueuePolicy", "policy"),
        ("pulumi_aws.sns", "TopicPolicy", "policy"),
        ("pulumi_aws.efs", "FileSystemPolicy", "policy"),
        ("pulumi_aws.ecr", "RepositoryPolicy", "policy"),
        ("pulumi_aws.secretsmanager", "SecretPolicy", "policy"),
    )
    for kind in sdk(module, name)
}


@rule(
    "resource-policy-no-wildcard",
    "No bucket, key, queue or other resource is open to everybody",
    tuple(DOCUMENTS),
    CRITICAL,
    cure="Name who may, or add a condition on aws:PrincipalOrgID, aws:SourceArn or aws:SourceAccount",
    reference="OWASP Top 10 2021, A01",
    guards={
        "policy": (
            '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}, {"Effect": "Deny", '
            '"Principal": "*", "Action": ["s3:*", "elasticfilesystem:*"], "Resource": "*", '
            '"Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}',
        )
    },
)
def resource_policy(it: Resource) -> Findings:
    key = DOCUMENTS[it.kind]
    if it.at(key) is None:
        return
    for index, one in enumerate(statements(it.at(key))):
        wide = any(name == "*" or name.endswith(":*") for name in principals(one)) or "NotPrincipal" in one
        narrowed = any(
            name in NARROWING and not operator.startswith("stringnot") and not any(v in ("*", "") for v in values)
            for operator, name, values in conditions(one)
        )
        if allows(one) and wide and not narrowed:
            yield Finding(f"{key}.Statement.{index}.Principal", "a wildcard", "nothing says who that is")


@rule(
    "iam-policy-not-admin",
    "No policy gives every right",
    (
        *sdk("pulumi_aws.iam", "Policy", "RolePolicy", "RolePolicyAttachment", "PolicyAttachment"),
        *sdk("pulumi_aws.iam", "GroupPolicy", "GroupPolicyAttachment", "Role"),
    ),
    HIGH,
    cure="Name the actions and the resources that are needed",
    reference="CIS AWS Foundations 3.0.0, 1.16",
    guards={
        "policy": ('{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',),
        "policyArn": ("arn:aws:iam::aws:policy/AdministratorAccess",),
        "inlinePolicies": (
            [{"name": "x", "policy": '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'}],
        ),
        "managedPolicyArns": (["arn:aws:iam::aws:policy/AdministratorAccess"],),
    },
)
def not_admin(it: Resource) -> Findings:
    for path, arn in (("policyArn", it.at("policyArn")), *it.each("managedPolicyArns")):
        if isinstance(arn, str) and arn.rpartition("/")[2] in ADMINISTRATOR and ":aws:policy" in arn:
            yield Finding(path, arn, "it may do everything")
    yield from _gives_all("policy", it.at("policy"))
    for path, one in it.each("inlinePolicies"):
        yield from _gives_all(f"{path}.policy", one.get("policy"))


def _gives_all(path: str, policy: Any) -> Findings:
    if policy is None:
        return
    for index, one in enumerate(statements(policy)):
        every = [a for a in actions(one) if a in ("*", "*:*", "iam:*")]
        if allows(one) and (every or "NotAction" in one) and ("*" in many(one.get("Resource")) or "NotResource" in one):
            yield Finding(f"{path}.Statement.{index}", "every action on every resource", "it may do everything")


@rule(
    "oidc-audience",
    "Our OIDC providers accept tokens for AWS only",
    sdk("pulumi_aws.iam", "OpenIdConnectProvider"),
    HIGH,
    cure="Set client_id_lists to [sts.amazonaws.com] and url to an https URL",
    reference="OWASP Top 10 2021, A07",
    guards={
        "clientIdLists": (["sts.amazonaws.com", "kubernetes"], ["*"], [], ABSENT),
        "url": ("http://issuer.example.org",),
    },
)
def oidc(it: Resource) -> Findings:
    found = list(it.at("clientIdLists") or [])
    if found != ["sts.amazonaws.com"]:
        yield Finding("clientIdLists", ", ".join(map(str, found)) or "empty", "it must be sts.amazonaws.com alone")
    url = it.at("url")
    if not isinstance(url, str) or not url.startswith("https://"):
        yield Finding("url", show(url), "it must begin with https://")


@rule(
    "crossplane-no-static-keys",
    "Controllers of cloud resources in the cluster use web identity",
    tuple(KEYLESS),
    CRITICAL,
    cure="Set spec.credentials.source to what takes the cluster's own tokens: IRSA, OIDCTokenFile, Filesystem",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={"spec.credentials.source": ("Secret", "Environment", ABSENT)},
)
def crossplane(it: Resource) -> Findings:
    source, keyless = it.at("spec.credentials.source"), KEYLESS[it.kind]
    if source not in keyless:
        yield Finding("spec.credentials.source", show(source), f"it must be {' or '.join(keyless)}")


@rule(
    "pool-controllers-short-lived",
    "What decides about pools proves itself to AWS by credentials that end",
    component("AwsControllers"),
    CRITICAL,
    cure="Set aws.credentials to webIdentity, or to instanceProfile where the controllers run on machines at EC2",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={"credentials": ("secret", ABSENT)},
)
def pool_controllers(it: Resource) -> Findings:
    if it.at("credentials") not in ("webIdentity", "instanceProfile"):
        yield Finding("credentials", show(it.at("credentials")), "a key in a Secret does not end")


@rule(
    "cloud-pools-short-lived",
    "Pools of other clouds are scaled by credentials that end",
    component("CloudPools"),
    CRITICAL,
    cure="Take servers of that cloud as hosts (remote: true), or allow its pools by a dated exception",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={"staticKeys": (["hetzner"], ABSENT)},
)
def cloud_pools(it: Resource) -> Findings:
    keys = it.at("staticKeys")
    if not is_list(keys):
        yield Finding("staticKeys", show(keys), "it must say which clouds have one")
    elif clouds := ", ".join(map(str, keys)):
        yield Finding("staticKeys", clouds, "an API token in a Secret does not end")


RULES = (
    no_user,
    aws_provider,
    cloudflare_provider,
    issuer,
    chart_keys,
    trust,
    trust_wildcard,
    resource_policy,
    not_admin,
    oidc,
    crossplane,
    pool_controllers,
    cloud_pools,
)
