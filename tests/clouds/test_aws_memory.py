"""The twin's AWS: what an issuer must publish, and what outlives a restart. Each test has an account of its own."""

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from keystone import issuer
from tests.clouds.aws import running
from tests.clouds.aws_issuer import HOST, IDENTITIES, assume, publish, readable_by, token


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("switch off", "its distribution is switched off"),
        ("remove the keys", "openid/v1/jwks is not there"),
        ("close the bucket", "does not let its distribution read"),
    ],
)
def test_an_issuer_that_nobody_can_read_is_told(order: str, said: str) -> None:
    with running() as cloud:
        publish(cloud)
        s3, front = cloud.client("s3"), cloud.client("cloudfront")
        if order == "switch off":
            identity = front.list_distributions()["DistributionList"]["Items"][0]["Id"]
            held = front.get_distribution_config(Id=identity)
            config = {**held["DistributionConfig"], "Enabled": False}
            front.update_distribution(Id=identity, IfMatch=held["ETag"], DistributionConfig=config)
        elif order == "remove the keys":
            s3.delete_object(Bucket="documents", Key="openid/v1/jwks")
        else:
            s3.put_bucket_policy(
                Bucket="documents", Policy=json.dumps(readable_by("arn:aws:cloudfront::1:distribution/X"))
            )
        with pytest.raises(ClientError, match="IDPCommunicationError") as refused:
            assume(cloud, token())
        assert said in str(refused.value)


def test_a_rotation_is_seamless_while_both_keys_are_published() -> None:
    with running() as cloud:
        publish(cloud)
        s3 = cloud.client("s3")
        for published, works, fails in (([1, 2], (1, 2), ()), ([2], (2,), (1,))):
            for path, text in issuer.documents(HOST, IDENTITIES, published).items():
                s3.put_object(Bucket="documents", Key=path, Body=text.encode())
            for generation in works:
                assert assume(cloud, token(generation))["Credentials"]
            for generation in fails:
                with pytest.raises(ClientError, match="among the published ones"):
                    assume(cloud, token(generation))


def test_objects_outlive_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "aws.state"
    with running(state) as cloud:
        publish(cloud)
        cloud.client("ssm").put_parameter(Name="/a", Value="hush", Type="SecureString")
        cloud.client("sqs").create_queue(QueueName="q")
        cloud.client("kms").create_key()
    assert state.stat().st_mode & 0o077 == 0
    with running(state) as cloud:
        assert assume(cloud, token())["Credentials"]
        assert cloud.client("ssm").get_parameter(Name="/a", WithDecryption=True)["Parameter"]["Value"] == "hush"
        assert cloud.client("sqs").list_queues()["QueueUrls"]
        assert len(cloud.client("kms").list_keys()["Keys"]) == 1


def test_a_state_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    state = tmp_path / "aws.state"
    state.write_bytes(b"moto 0.1 python 2.7\nrest")
    with running(state) as cloud:
        assert cloud.client("s3").list_buckets()["Buckets"] == []
    assert (tmp_path / "aws.unreadable").exists()
