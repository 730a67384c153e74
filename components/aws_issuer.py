"""The issuer of the cluster's tokens as AWS sees it: two documents in a private bucket, served by CloudFront."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import acm, cloudfront, s3

from components import public_record
from components.aws_bucket import AwsBucket, AwsBucketArgs
from keystone import issuer
from keystone.aws import names, rights
from keystone.identities import Identities
from keystone.settings import Settings

BUCKET = "issuer"
# CloudFront's own CachingOptimized: it keeps a document as long as the document's own header says.
CACHE_POLICY = "658327ea-f89d-4fab-a63d-7e88639e58f6"
VALIDATION_LIMIT = "30m"


@dataclass(frozen=True, kw_only=True)
class AwsIssuerArgs:
    settings: Settings
    root: pulumi.Input[str]
    key_arn: pulumi.Input[str]


class AwsIssuer(pulumi.ComponentResource):
    url: pulumi.Output[str]
    """https://HOST, once the documents can be read there."""

    def __init__(self, name: str, args: AwsIssuerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("keystone:components:AwsIssuer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, host = args.settings, names.issuer_host(args.settings)
        arn = names.bucket_arn(settings, BUCKET)
        distribution = self._distribution(name, settings, self._certificate(name, settings))
        bucket = AwsBucket(
            f"{name}-documents",
            AwsBucketArgs(
                arn=arn,
                key_arn=args.key_arn,
                protect=settings.protect_hosts,
                further=[rights.issuer_reader(arn, distribution.arn)],
            ),
            opts=child,
        )
        documents = self._documents(name, args, bucket.name)
        record = public_record.alias(f"{name}-name", settings, host, distribution.domain_name, parent=self)
        served = [*(one.id for one in documents), *([record.id] if isinstance(record, pulumi.CustomResource) else [])]
        self.url = pulumi.Output.all(*served).apply(lambda _: issuer.url(host))
        self.register_outputs({"url": self.url})

    def _documents(self, name: str, args: AwsIssuerArgs, bucket: pulumi.Output[str]) -> list[s3.BucketObjectv2]:
        settings = args.settings
        host, generations = names.issuer_host(settings), names.chosen(settings).key_generations
        # What leaves the secret are public keys alone.
        texts = pulumi.Output.unsecret(
            pulumi.Output.secret(args.root).apply(
                lambda root: issuer.documents(host, Identities(root, settings.cluster.name), generations)
            )
        )
        return [
            s3.BucketObjectv2(
                f"{name}-{label}",
                bucket=bucket,
                key=path,
                content=texts[path],
                content_type="application/json",
                cache_control=f"public, max-age={issuer.CACHE_SECONDS}",
                opts=pulumi.ResourceOptions(parent=self),
            )
            for label, path in (("keys", issuer.KEYS), ("discovery", issuer.DISCOVERY))
        ]

    def _certificate(self, name: str, settings: Settings) -> acm.CertificateValidation:
        certificate = acm.Certificate(
            f"{name}-certificate",
            region=names.CERTIFICATE_REGION,
            domain_name=names.issuer_host(settings),
            validation_method="DNS",
            opts=pulumi.ResourceOptions(parent=self),
        )
        proof = certificate.domain_validation_options[0]
        record = public_record.alias(
            f"{name}-proof", settings, proof.resource_record_name, proof.resource_record_value, parent=self
        )
        return acm.CertificateValidation(
            f"{name}-validation",
            region=names.CERTIFICATE_REGION,
            certificate_arn=certificate.arn,
            validation_record_fqdns=[proof.resource_record_name],
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[record] if record else [],  # the name alone does not say that the record is there
                custom_timeouts=pulumi.CustomTimeouts(create=VALIDATION_LIMIT),
            ),
        )

    def _distribution(
        self, name: str, settings: Settings, certificate: acm.CertificateValidation
    ) -> cloudfront.Distribution:
        access = cloudfront.OriginAccessControl(
            f"{name}-access",
            name=names.bucket(settings, BUCKET),
            description=f"Issuer of the Keystone cluster {settings.cluster.name}",
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
            opts=pulumi.ResourceOptions(parent=self),
        )
        return cloudfront.Distribution(
            f"{name}-distribution",
            enabled=True,
            comment=f"Issuer of the Keystone cluster {settings.cluster.name}",
            aliases=[names.issuer_host(settings)],
            origins=[
                {
                    "origin_id": BUCKET,
                    "domain_name": names.bucket_domain(settings, BUCKET),
                    "origin_access_control_id": access.id,
                }
            ],
            default_cache_behavior={
                "target_origin_id": BUCKET,
                "viewer_protocol_policy": "https-only",
                "allowed_methods": ["GET", "HEAD"],
                "cached_methods": ["GET", "HEAD"],
                "cache_policy_id": CACHE_POLICY,
                "compress": True,
            },
            restrictions={"geo_restriction": {"restriction_type": "none"}},
            viewer_certificate={
                "acm_certificate_arn": certificate.certificate_arn,
                "minimum_protocol_version": "TLSv1.2_2021",
                "ssl_support_method": "sni-only",
            },
            http_version="http2and3",
            is_ipv6_enabled=True,
            price_class="PriceClass_100",
            opts=pulumi.ResourceOptions(parent=self),
        )
