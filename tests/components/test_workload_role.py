"""components/workload_role.py"""

import json
from collections.abc import Callable

import pulumi
from pulumi_aws.iam import Role, RolePolicy
from pulumi_aws.sqs import Queue

from components.workload_role import Trust, WorkloadRole, WorkloadRoleArgs
from keystone.iam import Statement
from tests.components.platforms import Anything
from tests.recording import Engine

Deploy = Callable[..., Engine]
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org"
BOUNDARY = "arn:aws:iam::123456789012:policy/keystone/site/boundary"


def build() -> object:
    queue = Queue("queue")
    role = WorkloadRole(
        "drainer",
        WorkloadRoleArgs(
            identity=Trust(
                cluster="site",
                issuer_host="oidc.example.org",
                provider_arn=PROVIDER,
                provider=Anything("provider"),
                boundary_arn=BOUNDARY,
            ),
            namespace="kube-system",
            service_account="drainer",
            statements=[Statement(sid="Take", actions=("sqs:ReceiveMessage",), resources=(queue.id,), reason="events")],
        ),
    )
    return Queue("user", tags={"role": pulumi.Output.concat(role.arn)})


def test_a_role_trusts_one_service_account_and_is_bounded(deploy: Deploy) -> None:
    [role] = deploy(build).of(Role)
    [statement] = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert statement["Condition"]["StringEquals"] == {
        "oidc.example.org:aud": "sts.amazonaws.com",
        "oidc.example.org:sub": "system:serviceaccount:kube-system:drainer",
    }
    assert statement["Principal"] == {"Federated": PROVIDER}
    assert role.dependencies == {"provider"}
    assert role.inputs["permissionsBoundary"] == BOUNDARY
    assert (role.inputs["path"], role.inputs["name"]) == ("/keystone/site/", "site-drainer")


def test_its_rights_name_resources_that_are_made_in_the_same_run(deploy: Deploy) -> None:
    [rights] = deploy(build).of(RolePolicy)
    assert json.loads(rights.inputs["policy"])["Statement"] == [
        {"Sid": "Take", "Effect": "Allow", "Action": ["sqs:ReceiveMessage"], "Resource": ["queue-id"]}
    ]
    assert rights.dependencies == {"queue", "drainer-role"}


def test_who_gets_the_arn_waits_for_the_rights(deploy: Deploy) -> None:
    assert {"drainer-role", "drainer-rights"} <= deploy(build).named("user").dependencies
