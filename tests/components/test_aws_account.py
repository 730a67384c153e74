"""components/aws_account.py"""

from collections.abc import Callable
from typing import Any

import pytest
from judging.resource import read
from judging.rule import ABSENT

from keystone.aws import deployer
from tests.aws.judged import cases
from tests.aws.programs import CI, the_account
from tests.aws.sites import KARPENTER, POOL, site
from tests.policy import court
from tests.recording import Engine, plain

Deploy = Callable[..., Engine]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
BOTH = {"spot": POOL, "batch": KARPENTER}


def test_no_cluster_without_pools_gets_controllers(deploy: Deploy) -> None:
    engine = deploy(the_account(site(nodePools={})))
    assert not any(one.kind.startswith(("aws:ec2", "aws:autoscaling", "aws:sqs")) for one in engine.resources)


def test_one_pool_more_leaves_the_others_alone(deploy: Deploy) -> None:
    one, two = deploy(the_account(site())), deploy(the_account(site(nodePools={"spot": POOL, "extra": POOL})))
    before, after = ({(it.kind, it.name): it.inputs for it in run.resources} for run in (one, two))
    assert before.keys() < after.keys()
    assert {name for (kind, name), inputs in before.items() if after[kind, name] != inputs} == {
        # The Primer's timer fills one parameter more.
        "aws-identity-pool-keys-rights",
    }
    assert {name for _, name in after.keys() - before.keys() if not name.startswith("pool-extra")} == set()


def test_a_preview_of_nothing_made_yet_shows_every_resource(deploy: Deploy) -> None:
    settings = site(nodePools=BOTH, ci=CI, tunnel=True)
    made, previewed = deploy(the_account(settings)), deploy(the_account(settings), preview=True)
    assert {r.name for r in previewed.resources} == {r.name for r in made.resources}


def test_who_runs_the_program_may_make_every_kind_of_it(deploy: Deploy) -> None:
    settings = site(nodePools=BOTH, ci=CI, hostedZoneId="Z123")
    kinds = {one.kind for one in deploy(the_account(settings)).resources if one.kind.startswith("aws:")}
    serves = {kind: sid for sid, known in deployer.SERVES.items() for kind in known}
    assert kinds - serves.keys() == set()
    assert set(deployer.SERVES) <= {one.sid for one in deployer.statements(settings)}


def judged(deploy: Deploy, **aws: Any) -> list[court.Case]:
    """The account's resources, and the stack with what it exports."""
    found = cases(deploy(the_account(site(**aws))))
    roles = {one.name: one.props["arn"] for one in found if one.kind == "aws:iam/role:Role"}
    exports = {kind: roles[f"aws-identity-{kind}"] for kind in ("preview", "up")}
    return [*found, court.Case(kind="pulumi:pulumi:Stack", name="site", props={"pipelineRoles": exports})]


def test_the_policy_pack_finds_no_fault_with_it(deploy: Deploy) -> None:
    verdict = court.judge(judged(deploy, nodePools=BOTH, ci=CI, tunnel=True), whole=True)
    assert verdict.violations == []
    assert verdict.notes == []


# Mutations that a rule rightly does not notice: (rule, guarded path) and why.


EXPLAINED = {
    ("image-of-known-owner", "spec.amiSelectorTerms.0.owner"): "the image is named by its id, whoever owns it",
}


def test_every_flip_of_what_the_pack_guards_is_noticed(deploy: Deploy) -> None:
    found = judged(deploy, nodePools=BOTH, ci=CI, tunnel=True)
    tried, missed = 0, []
    for case in (one for one in found if one.kind.startswith(("aws:", "kubernetes:karpenter"))):
        for rule in (one for one in court.rules() if case.kind in one.kinds):
            for path, value in ((path, value) for path, values in rule.guards.items() for value in values):
                other = path.startswith("spec.") != case.kind.startswith("kubernetes:")
                before = plain(read(case.props, path))
                if other or before == value or (value == ABSENT and before is None) or (rule.name, path) in EXPLAINED:
                    continue
                tried += 1
                parent = [one for one in found if one.urn == case.parent]
                if rule.name not in court.judge([*parent, case.changed({path: value})]).broken:
                    missed.append(f"{rule.name}: {case.kind} {case.name} {path} = {value!r}")
    assert tried > 60
    assert missed == [], "\n".join(missed)
