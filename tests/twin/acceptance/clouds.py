"""The project's stack `dev-cloud` in a copy of the project, on a network of its own, and what its clouds hold."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import httpx
import yaml

from keystone.published import TWIN_PASSPHRASE
from tests.networks import Network
from tests.twin.acceptance.checkout import PYTHON, Checkout, Done
from twin import clouds
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.clouds.cloudflare import CONTROL
from twin.env import variables
from twin.site import Site
from twin.ssh_keys import installer_public_key

STACK = "dev-cloud"
OWN_NETWORK = "127.80.0."


class CloudCheckout(Checkout):
    """A checkout with the stack file as it is checked in, but for its addresses."""

    def __init__(self, folder: Path, network: Network, temporary: Path) -> None:
        super().__init__(folder, STACK, network, {}, temporary)

    def _copy(self) -> None:
        super()._copy()
        text = self.stack_file.read_text().replace(OWN_NETWORK, f"{self.network.base}.")
        document = yaml.safe_load(text)
        for name, host in document["config"]["keystone:hosts"].items():
            host["installerHostKey"] = installer_public_key(str(self.network), name)
        self.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def _environment(self) -> dict[str, str]:
        usual = super()._environment() | {"PULUMI_CONFIG_PASSPHRASE": TWIN_PASSPHRASE}
        # What the stand-ins of the clouds need beside that, `make` takes from there too.
        return usual | {
            key: value for key, value in variables(self.stack, self.folder, usual).items() if key not in usual
        }

    def _initialise(self, hosts: Any) -> None:
        """Nothing: the stack file is there, and the engine makes the stack in its backend."""
        assert not hosts
        for folder in ("pulumi", "state"):
            (self.folder / ".twin" / self.stack / folder).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def config(self) -> dict[str, Any]:
        """The `config` of the stack file."""
        return yaml.safe_load(self.stack_file.read_text())["config"]

    @property
    def pools(self) -> dict[str, int]:
        """How many machines the settings want in each pool of the cloud."""
        pools = self.config.get("keystone:aws", {}).get("nodePools", {})
        return {name: pool.get("desired", pool["min"]) for name, pool in pools.items()}

    @property
    def size(self) -> int:
        """How many nodes the cluster has to have."""
        return len(self.hosts()) + sum(self.pools.values())

    @cached_property
    def _doubles(self) -> dict[str, str]:
        site = Site.read(self.stack, self.folder)
        assert site is not None
        return {name: f"http://{address}:{port}" for name, address, port in clouds.endpoints(site.settings)}

    def at_cloudflare(self) -> list[str]:
        """What exists in the double of Cloudflare: kind and name."""
        return self._ask("objects")

    def writes_at_cloudflare(self) -> list[str]:
        """The requests so far that were no questions."""
        return [f"{one['method']} {one['path']}" for one in self._ask("requests") if one["method"] != "GET"]

    def _ask(self, what: str) -> Any:
        answer = httpx.get(f"{self._doubles[clouds.CLOUDFLARE]}{CONTROL}/{what}", timeout=20, trust_env=False)
        return answer.raise_for_status().json()

    def aws(self, service: str, **credentials: str) -> Any:
        """A client of the twin's AWS, as the deployer or with a session's credentials."""
        given = credentials or {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        region = self.config["keystone:aws"]["region"]
        return boto3.client(service, region_name=region, endpoint_url=self._doubles[clouds.AWS], **given)

    def at_aws(self) -> dict[str, list[str]]:
        """What exists at AWS by kind, but for what an account has from its first day."""
        ec2, roles = self.aws("ec2"), self.aws("iam")
        machines = [one for part in ec2.describe_instances()["Reservations"] for one in part["Instances"]]
        made = [{"Name": "tag-key", "Values": ["*"]}]
        found = {
            "instances": [one["InstanceId"] for one in machines if one["State"]["Name"] != "terminated"],
            "networks": [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"] if not one["IsDefault"]],
            "groups": [one["GroupId"] for one in ec2.describe_security_groups(Filters=made)["SecurityGroups"]],
            "templates": [one["LaunchTemplateId"] for one in ec2.describe_launch_templates()["LaunchTemplates"]],
            "volumes": [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]],
            "addresses": [one["AllocationId"] for one in ec2.describe_addresses()["Addresses"]],
            "pools": [
                one["AutoScalingGroupName"]
                for one in self.aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
            ],
            "balancers": [
                one["LoadBalancerArn"] for one in self.aws("elbv2").describe_load_balancers()["LoadBalancers"]
            ],
            "buckets": [one["Name"] for one in self.aws("s3").list_buckets()["Buckets"]],
            "roles": [one["RoleName"] for one in roles.list_roles()["Roles"]],
            "policies": [one["PolicyName"] for one in roles.list_policies(Scope="Local")["Policies"]],
            "profiles": [one["InstanceProfileName"] for one in roles.list_instance_profiles()["InstanceProfiles"]],
            "issuers": [one["Arn"] for one in roles.list_open_id_connect_providers()["OpenIDConnectProviderList"]],
            "parameters": [one["Name"] for one in self.aws("ssm").describe_parameters()["Parameters"]],
            "queues": self.aws("sqs").list_queues().get("QueueUrls", []),
            "rules": [one["Name"] for one in self.aws("events").list_rules()["Rules"]],
            "sites": [
                one["Id"] for one in self.aws("cloudfront").list_distributions()["DistributionList"].get("Items", [])
            ],
            "certificates": [
                one["CertificateArn"] for one in self.aws("acm").list_certificates()["CertificateSummaryList"]
            ],
        }
        return {kind: names for kind, names in found.items() if names}

    def console(self, instance: str, *words: str) -> str:
        """What `tailscale` says on a machine of a pool."""
        done = self.run(PYTHON, "-c", ON_INSTANCE, instance, *words, limit=60)
        self.said.pop()  # what a test asks for is no log
        return done.text

    def kubectl(self, *words: str) -> Any:
        """The JSON that kubectl prints on the Primer."""
        return json.loads(self.on("primer", "kubectl", *words, "--output", "json"))

    def verified(self) -> dict[str, int]:
        """How many checks of each group of `keystone verify` hold; all have to."""
        done: Done = self.keystone("verify", "--json", limit=180)
        assert done.ok, done.text
        counts: dict[str, int] = {}
        for check in json.loads(done.stdout)["checks"]:
            counts[check["group"]] = counts.get(check["group"], 0) + 1
        return counts


ON_INSTANCE = """
import sys
from twin import control
from twin.site import Site
import os
site = Site.read(os.environ["KEYSTONE_STACK"])
said = control.request(site.control_socket, "tailscale", instance=sys.argv[1], argv=sys.argv[2:])
sys.stdout.write(said["stdout"] + said["stderr"])
"""
