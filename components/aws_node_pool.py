"""A pool of equal machines at EC2 that join mesh and cluster by themselves."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import autoscaling, ec2
from pulumi_aws import iam as aws

from components.secure_parameter import PLACEHOLDER, secure_parameter
from components.thing import thing
from components.workload_role import Trust
from keystone import iam
from keystone.aws import events, karpenter, names, pools, rights, services
from keystone.charts.aws import drain_tag
from keystone.identities import Identities
from keystone.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsNodePoolArgs:
    """`pool` is its name in the settings; `subnets` are by zone; `drained_by` stands for what drains its machines."""

    settings: Settings
    pool: str
    root: pulumi.Input[str]
    identity: Trust
    key_arn: pulumi.Input[str]
    key_alias: pulumi.Input[str]
    subnets: Mapping[str, pulumi.Input[str]]
    security_group: pulumi.Input[str]
    drained_by: Sequence[pulumi.Resource]


class AwsNodePool(pulumi.ComponentResource):
    """Its machines know where their keys lie and hold none. A leaving one is drained; its mesh node is ephemeral."""

    def __init__(self, name: str, args: AwsNodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsNodePool", name, None, opts)
        self._name, self._args = name, args
        self._choice = names.chosen(args.settings).node_pools[args.pool]
        secrets = self._secrets()
        profile = self._profile()
        if self._choice.scaler == "karpenter":
            self._karpenter(profile, secrets)
        else:
            self._group(self._template(profile), secrets)
        self.register_outputs({})

    def _opts(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _secrets(self) -> list[pulumi.Resource]:
        args, cluster = self._args, self._args.settings.cluster.name
        prefix = names.pool_prefix(args.settings, args.pool)
        token = pulumi.Output.secret(args.root).apply(lambda root: Identities(root, cluster).agent_token())
        values: dict[str, pulumi.Input[str]] = {names.MESH_KEY: PLACEHOLDER, names.AGENT_TOKEN: token}
        return [
            secure_parameter(
                f"{self._name}-{what}",
                f"{prefix}/{what}",
                f"The {what} of the pool {args.pool}",
                value,
                key_alias=args.key_alias,
                parent=self,
            )
            for what, value in values.items()
        ]

    def _profile(self) -> aws.InstanceProfile:
        args, cluster = self._args, self._args.settings.cluster.name
        called = iam.role_name(cluster, f"pool-{args.pool}")
        role = aws.Role(
            f"{self._name}-role",
            name=called,
            path=iam.path(cluster),
            description=f"Machines of the pool {args.pool}",
            assume_role_policy=iam.service_trust("ec2.amazonaws.com"),
            permissions_boundary=args.identity.boundary_arn,
            opts=self._opts(),
        )
        granted = aws.RolePolicy(
            f"{self._name}-rights",
            name="rights",
            role=role.name,
            policy=pulumi.Output.json_dumps(
                iam.policy(rights.machine(args.settings, args.pool, args.key_arn)), sort_keys=True
            ),
            opts=self._opts(),
        )
        return aws.InstanceProfile(
            f"{self._name}-profile",
            name=called,
            path=iam.path(cluster),
            role=role.name,
            opts=self._opts(granted),  # a machine that starts finds its rights
        )

    def _tags(self) -> dict[str, str]:
        return {**pools.tags(self._args.settings, self._args.pool), drain_tag(self._args.settings): "true"}

    def _template(self, profile: aws.InstanceProfile) -> ec2.LaunchTemplate:
        args, pool, settings = self._args, self._choice, self._args.settings
        network = names.chosen(settings).network
        assert network, "the settings want a network for pools"
        data = pools.user_data(settings, args.pool)
        tagged = [
            ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=self._tags())
            for kind in ("instance", "volume", "network-interface")
        ]
        return ec2.LaunchTemplate(
            f"{self._name}-template",
            name=f"{settings.cluster.name}-{args.pool}",
            image_id=pool.image_id,
            update_default_version=True,
            iam_instance_profile={"arn": profile.arn},
            user_data=base64.b64encode(data.encode()).decode(),
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # One hop is the machine itself: no pod gets its rights.
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "enabled",
            },
            block_device_mappings=[
                {
                    "device_name": pools.ROOT_DEVICE,
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": pool.disk_gib,
                        "encrypted": "true",
                        "kms_key_id": args.key_arn,
                        "delete_on_termination": "true",
                    },
                }
            ],
            network_interfaces=[
                {
                    "device_index": 0,
                    "associate_public_ip_address": str(network.public_addresses).lower(),
                    "security_groups": [args.security_group],
                    "delete_on_termination": "true",
                }
            ],
            tag_specifications=tagged,
            opts=self._opts(),
        )

    def _group(self, template: ec2.LaunchTemplate, secrets: Sequence[pulumi.Resource]) -> None:
        args, pool, settings = self._args, self._choice, self._args.settings
        # The provider adds no tags of its own to a group.
        marks = {"Name": f"{settings.cluster.name}-{args.pool}", services.CLUSTER_TAG: settings.cluster.name}
        if pool.scaler == "cluster-autoscaler":
            marks |= pools.autoscaler_tags(settings, args.pool)
        autoscaling.Group(
            f"{self._name}-group",
            name=f"{settings.cluster.name}-{args.pool}",
            min_size=pool.min,
            max_size=pool.max,
            desired_capacity=pool.desired,
            vpc_zone_identifiers=[args.subnets[zone] for zone in sorted(pool.zones)],
            mixed_instances_policy={
                "launch_template": {
                    "launch_template_specification": {
                        "launch_template_id": template.id,
                        "version": template.latest_version.apply(str),
                    },
                    "overrides": [{"instance_type": one} for one in pool.instance_types],
                },
                "instances_distribution": {
                    "on_demand_base_capacity": pool.capacity.on_demand_base,
                    "on_demand_percentage_above_base_capacity": 100 - pool.capacity.spot_percent,
                    "spot_allocation_strategy": "price-capacity-optimized",
                },
            },
            capacity_rebalance=pool.capacity.spot_percent > 0,
            health_check_type="EC2",
            # A zone too full would be emptied without asking the autoscaler.
            suspended_processes=["AZRebalance"],
            termination_policies=["OldestLaunchTemplate", "Default"],
            initial_lifecycle_hooks=[
                {
                    "name": events.HOOK,
                    "lifecycle_transition": "autoscaling:EC2_INSTANCE_TERMINATING",
                    "heartbeat_timeout": events.DRAIN_SECONDS,
                    "default_result": "CONTINUE",
                }
            ],
            instance_refresh={
                "strategy": "Rolling",
                "preferences": {"min_healthy_percentage": 90},
                # With AZRebalance off, machines would stay in a subnet that is given up, and it with them.
                "triggers": ["vpc_zone_identifier"],
            },
            # `keystone verify` says which machines joined; spot capacity may take its time.
            wait_for_capacity_timeout="0",
            tags=[
                # Machines have the template's tags; these hold slashes, which metadata cannot show.
                {"key": key, "value": value, "propagate_at_launch": False}
                for key, value in sorted(marks.items())
            ],
            opts=pulumi.ResourceOptions(
                parent=self,
                # Machines find their secrets when they start, and who drains them is there until they are gone.
                depends_on=[*secrets, *args.drained_by],
                # The autoscaler's own business.
                ignore_changes=["desiredCapacity"] if pool.scaler == "cluster-autoscaler" else None,
            ),
        )

    def _karpenter(self, profile: aws.InstanceProfile, secrets: Sequence[pulumi.Resource]) -> None:
        args, settings = self._args, self._args.settings
        before = [*secrets, *args.drained_by]
        tags = {key: value for key, value in self._tags().items() if key != "Name"}
        node_class = thing(
            f"{self._name}-class",
            karpenter.node_class(
                settings,
                args.pool,
                profile=profile.name,
                key_arn=args.key_arn,
                subnets=[args.subnets[zone] for zone in sorted(self._choice.zones)],
                security_group=args.security_group,
                tags=tags,
            ),
            parent=self,
            after=before,
            removal=karpenter.REMOVAL_LIMIT,
        )
        thing(f"{self._name}-nodes", karpenter.node_pool(settings, args.pool), parent=self, after=[node_class])
