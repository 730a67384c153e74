"""Copies off the site: a bucket that keeps them, roles that may add to it, and the cluster's own jobs.

What a machine alone holds is copied by its own service (nix/modules/offsite), under the service account `hosts`.
"""

from dataclasses import dataclass
from typing import Any, cast

import pulumi
from pulumi_aws import kms, s3
from pulumi_kubernetes.batch import v1 as batch
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.aws_bucket import AwsBucket, AwsBucketArgs
from components.thing import thing
from components.workload_role import Trust, WorkloadRole, WorkloadRoleArgs
from keystone.backup import access, catalogue, plan
from keystone.charts import backup as manifests
from keystone.charts.release import pod_security
from keystone.identities import Identities
from keystone.settings import Backup as BackupSettings
from keystone.settings import Settings

DELETION_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class BackupArgs:
    """`after` stands for the nodes; `object_store` for the store whose buckets are copied, when there is one."""

    settings: Settings
    backup: BackupSettings
    stack: str
    identity: Trust
    root: pulumi.Input[str]
    after: pulumi.Resource
    object_store: pulumi.Resource | None = None


class Backup(pulumi.ComponentResource):
    bucket: pulumi.Output[str]
    """The bucket's name."""

    def __init__(self, name: str, args: BackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # What policies compare with what holds data.
        covered = {"covers": sorted({it.kind for it in plan.sources(args.settings, args.backup)})}
        super().__init__("keystone:components:Backup", name, covered, opts)
        key = self._key(name, args)
        bucket = self._bucket(name, args, key)
        s3.BucketObjectv2(
            f"{name}-catalogue",
            bucket=bucket.name,
            key=plan.CATALOGUE_KEY,
            content=catalogue.text(args.settings, args.backup, args.stack),
            content_type="application/json",
            server_side_encryption="aws:kms",
            kms_key_id=key.arn,
            # Its older versions are locked too; without protection they go with the bucket.
            force_destroy=not args.backup.protect,
            opts=pulumi.ResourceOptions(parent=self),
        )
        namespace, closed = self._namespace(name, args)
        roles = self._roles(name, args, key.arn, namespace)
        self._jobs(name, args, namespace, roles, [bucket, *closed])
        self.bucket = bucket.name
        self.register_outputs({"bucket": self.bucket})

    def _key(self, name: str, args: BackupArgs) -> kms.Key:
        key = kms.Key(
            f"{name}-key",
            description=f"Copies of the cluster {args.settings.cluster.name}",
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_DAYS,
            opts=pulumi.ResourceOptions(parent=self, protect=args.backup.protect),
        )
        kms.Alias(
            f"{name}-key-name",
            name=catalogue.key_alias(args.settings),
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return key

    def _bucket(self, name: str, args: BackupArgs, key: kms.Key) -> AwsBucket:
        return AwsBucket(
            f"{name}-copies",
            AwsBucketArgs(
                arn=plan.bucket_arn(args.settings, args.backup),
                key_arn=key.arn,
                protect=args.backup.protect,
                further=access.refused(plan.bucket_arn(args.settings, args.backup), key.arn),
                lock=args.backup.lock,
                lifecycle=_lifecycle(args.backup),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _namespace(self, name: str, args: BackupArgs) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """The namespace, and what closes its network."""
        made = core.Namespace(
            f"{name}-namespace",
            metadata=meta.ObjectMetaArgs(
                name=plan.NAMESPACE,
                labels=pod_security("restricted"),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.after]),
        )
        namespace = made.metadata["name"]
        closed: list[pulumi.Resource] = [
            thing(f"{name}-policy-{it.name}", it, parent=self, namespace=namespace)
            for it in manifests.network_policies(args.settings, args.backup)
        ]
        return namespace, closed

    def _roles(
        self, name: str, args: BackupArgs, key: Any, namespace: pulumi.Output[str]
    ) -> dict[str, pulumi.Output[str]]:
        """The ARNs of the roles by service account, each with its service account."""
        bucket = plan.bucket_arn(args.settings, args.backup)
        wanted = {plan.HOSTS_ACCOUNT: access.hosts(bucket, key), manifests.VERIFY: access.verify(bucket)}
        if args.backup.copies_buckets:
            wanted[manifests.BUCKETS] = access.buckets(bucket, key)
        roles = {}
        for account, statements in wanted.items():
            roles[account] = WorkloadRole(
                f"{name}-{account}",
                WorkloadRoleArgs(
                    identity=args.identity,
                    namespace=plan.NAMESPACE,
                    service_account=account,
                    statements=statements,
                    role=plan.ROLES[account],
                ),
                opts=pulumi.ResourceOptions(parent=self),
            ).arn
            core.ServiceAccount(
                f"{name}-account-{account}",
                metadata=meta.ObjectMetaArgs(
                    name=account,
                    namespace=namespace,
                    # For people: pods and machines are told their role themselves.
                    annotations={"eks.amazonaws.com/role-arn": roles[account]},
                ),
                automount_service_account_token=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
        return roles

    def _jobs(
        self,
        name: str,
        args: BackupArgs,
        namespace: pulumi.Output[str],
        roles: dict[str, pulumi.Output[str]],
        after: list[pulumi.Resource],
    ) -> None:
        own = pulumi.ResourceOptions(parent=self)
        if reader := manifests.reader(args.settings, args.backup):
            store = [args.object_store] if args.object_store else []
            after = [*after, thing(f"{name}-reader", reader, parent=self, after=store, namespace=namespace)]
            authority = pulumi.Output.from_input(args.root).apply(
                lambda root: Identities(root, args.settings.cluster.name).mesh_ca()[0]
            )
            core.ConfigMap(
                f"{name}-authority",
                metadata=meta.ObjectMetaArgs(name=manifests.AUTHORITY, namespace=namespace),
                # A certificate is public.
                data={manifests.AUTHORITY_FILE: pulumi.Output.unsecret(authority)},
                opts=own,
            )
        for job, spec in manifests.jobs(args.settings, args.backup, roles).items():
            batch.CronJob(
                f"{name}-{job}-job",
                metadata=meta.ObjectMetaArgs(name=job, namespace=namespace),
                spec=cast(Any, spec),
                opts=pulumi.ResourceOptions(parent=self, depends_on=after),
            )


def _lifecycle(backup: BackupSettings) -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    """Copies of machines end by age. Those of buckets are as old as their originals: only what was replaced ends."""
    rule, within = s3.BucketLifecycleConfigurationRuleArgs, s3.BucketLifecycleConfigurationRuleFilterArgs
    older = s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs
    ends = s3.BucketLifecycleConfigurationRuleExpirationArgs
    return [
        rule(
            id="hosts",
            status="Enabled",
            filter=within(prefix=f"{plan.HOST_PREFIX}/"),
            expiration=ends(days=backup.retention_days),
            noncurrent_version_expiration=older(noncurrent_days=1),
        ),
        rule(
            id="replaced",
            status="Enabled",
            filter=within(prefix=f"{plan.BUCKET_PREFIX}/"),
            expiration=ends(expired_object_delete_marker=True),
            noncurrent_version_expiration=older(noncurrent_days=backup.retention_days),
        ),
        rule(
            id="catalogue",
            status="Enabled",
            filter=within(prefix=plan.CATALOGUE_KEY),
            noncurrent_version_expiration=older(noncurrent_days=backup.retention_days),
        ),
    ]
