"""The twin's AWS as a service of a site: started, kept, restarted and gone with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from keystone.settings import parse
from tests import networks
from tests.clouds.test_aws_pools import section
from tests.twin import sites
from tests.twin.projects import Project, eventually, make
from twin import clouds, ports
from twin.clouds.aws import ACCESS_KEY, SECRET_KEY
from twin.env import variables

PORT = 5000


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A twin of one machine with an AWS account."""
    one = make(tmp_path, workers=0)
    one.document["cluster"]["issuerHost"] = "issuer.example.org"
    one.document["aws"] = section(url(one))
    one.document["platform"] = {"certManager": {}}
    one.write()
    yield one
    one.run("down", check=False)


def url(project: Project) -> str:
    return f"http://{project.network.at(3)}:{PORT}"


def parameters(project: Project) -> list[str]:
    ssm = boto3.client(
        "ssm",
        region_name="eu-central-1",
        endpoint_url=url(project),
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    if not ssm.describe_parameters()["Parameters"]:
        ssm.put_parameter(Name="/kept", Value="x", Type="String")
    return [one["Name"] for one in ssm.describe_parameters()["Parameters"]]


@pytest.mark.twin
@pytest.mark.timeout(300)
def test_a_twin_with_an_account_has_an_aws_that_keeps_its_objects(project: Project) -> None:
    project.run("up")
    assert parameters(project) == ["/kept"]
    state = clouds.state_of(project.site, clouds.AWS)
    assert eventually(state.exists, 20), "nothing was saved"
    pid = project.status()["processes"]["aws"]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: project.status()["processes"].get("aws", {}).get("pid") not in (None, pid), 60)
    assert eventually(lambda: _kept(project), 60), "a restart lost the parameter"
    project.run("stop")
    project.run("up")
    assert parameters(project) == ["/kept"]
    assert state.stat().st_mode & 0o077 == 0
    assert project.status()["instances"] == {}
    del project.document["aws"]
    project.write()
    project.run("up")
    assert "aws" not in project.status()["processes"]
    assert "nothing is left over" in project.run("down").stderr
    assert not state.exists()


def _kept(project: Project) -> bool:
    try:
        return parameters(project) == ["/kept"]
    except Exception:
        return False


def test_the_deployer_of_a_twin_gets_its_published_credentials_and_none_of_the_users_own(project: Project) -> None:
    found = variables(project.site.stack, project.site.project, {"PATH": "/bin", "AWS_PROFILE": "work"})
    assert found["AWS_ACCESS_KEY_ID"] == ACCESS_KEY
    script = (
        "import boto3; print(boto3.client('sts', region_name='eu-central-1')._request_signer._credentials.access_key)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=found, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == ACCESS_KEY, done.stderr
    del project.document["aws"]
    project.write()
    assert not [name for name in variables(project.site.stack, project.site.project) if name.startswith("AWS_")]


def test_every_place_of_the_endpoints_must_be_free_and_is_served_once() -> None:
    network = networks.fresh()
    document = {**sites.document(network, issuerHost="issuer.example.org"), "platform": {"certManager": {}}}
    document["aws"] = {**section(""), "endpoints": {"default": "http://127.0.0.9:5000", "s3": "http://127.0.0.9:5001"}}
    document["aws"]["endpoints"]["sts"] = "http://127.0.0.9:5000"
    settings = parse(document)
    assert clouds.aws_places(settings) == [("127.0.0.9", 5000), ("127.0.0.9", 5001)]
    assert ("127.0.0.9", 5001, False) in set(ports.wanted(settings))
    document["aws"]["endpoints"] = {}
    assert clouds.aws_places(parse(document)) == []
