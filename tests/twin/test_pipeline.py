"""The workflows' own commands, as they stand, against a live twin; and another project that reads its outputs."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bench import sites
from keystone import outputs
from keystone.checks.secrets import formats
from tests import networks
from tests.preview.hub import TOKEN, Hub, serving
from tests.workflows import PROJECT, Runner

pytestmark = [pytest.mark.twin, pytest.mark.timeout(420)]

NETWORK = networks.fresh()
SKIPPED = {
    "Install the Python packages": "the copy has the project's own venv",
    "Build Pulumi and the mesh's client": "the twin's environment has them",
    "Join the mesh": "the twin is on this computer",
    "Install nixos-anywhere as nix/flake.lock pins it": "the twin brings its own",
}


class Site:
    """A copy of the project with a twin of a Primer and one worker."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder, self.hub = sites.copy(folder), hub
        sites.move(self.folder, NETWORK.base, workers=1)
        self.python = self.folder / ".venv/bin/python"
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        lines = self.run([str(self.python), "-m", "twin", "env", "--stack", "dev"], os.environ).stdout
        exported = dict(re.findall(r"^export (\w+)='?(.*?)'?$", lines, re.MULTILINE))
        return {
            **os.environ,
            **exported,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_API_URL": f"http://127.0.0.1:{self.hub.server_port}",
            "GITHUB_STEP_SUMMARY": str(self.folder / ".twin-summary"),
        }

    def run(
        self, line: list[str], environment: Any = None, folder: Path | None = None, limit: float = 300
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            line,
            cwd=folder or self.folder,
            env=environment or self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def keystone(self, *words: str) -> str:
        return self.run([str(self.python), "-m", "keystone", *words]).stdout

    def twin(self, *words: str) -> str:
        return self.run([str(self.python), "-m", "twin", *words, "--stack", "dev"]).stdout

    def pulumi(self, *words: str, folder: Path | None = None) -> str:
        return self.run(["pulumi", *words, "--stack", "dev", "--non-interactive"], folder=folder).stdout

    def kubectl(self, *words: str) -> Any:
        kubeconfig = self.folder / ".twin/kubeconfig"
        if not kubeconfig.exists():
            kubeconfig.touch(0o600)
            kubeconfig.write_text(self.pulumi("stack", "output", "kubeconfig", "--show-secrets"))
        return self.run(["kubectl", "--kubeconfig", str(kubeconfig), *words]).stdout

    def runner(self) -> Runner:
        """A runner of GitHub in this copy. The tools' folder is the one that the twin's environment names."""
        temporary = self.folder / ".twin-runner"
        temporary.mkdir(exist_ok=True)
        tools = temporary / "tools"
        if not tools.exists():
            pulumi = next(
                Path(part) for part in self.environment["PATH"].split(":") if (Path(part) / "pulumi").exists()
            )
            tools.symlink_to(pulumi)
        values = {
            "matrix.stack": "dev",
            "vars.PULUMI_BACKEND_URL": self.environment["PULUMI_BACKEND_URL"],
            "vars.AWS_ROLE": "unused",
            "vars.AWS_REGION": "unused",
            "vars.MESH_KEY_PARAMETER": "",
            "github.token": TOKEN,
            "github.sha": "0123456789abcdef",
            "github.event.pull_request.head.sha": "0123456789abcdef",
            "github.event.pull_request.number": "7",
        }
        return Runner(
            checkout=self.folder, temporary=temporary, values=values, environment=self.environment, skipped=SKIPPED
        )

    def job(self, name: str) -> list[str]:
        """Run a workflow's job of the same name; returns the steps that ran."""
        runner = self.runner()
        try:
            runner.job(name, name)
        except AssertionError as failed:
            failed.add_note("\n".join(one["body"] for one in [*self.hub.comments, *self.hub.issues]))
            raise
        return runner.ran


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving() as hub:
        made = Site(tmp_path_factory.mktemp("pipeline") / "keystone", hub)
        made.keystone("facts", "--stack", "dev")
        made.twin("up")
        try:
            yield made
        finally:
            made.twin("down")


def test_1_the_first_preview_comments_every_machine_as_installed(site: Site) -> None:
    assert site.job("preview") == ["The facts are those of the settings", "Preview and comment"]

    [comment] = site.hub.comments
    assert "| `primer` | installed |" in comment["body"]
    assert "| `w1` | installed |" in comment["body"]
    assert "`keystone` `0.1.0`" in comment["body"]


def test_2_the_update_makes_the_cluster_and_verifies_it(site: Site) -> None:
    assert site.job("up") == ["The facts are those of the settings", "Up", "Mesh and cluster are as the settings say"]


def test_3_the_next_preview_changes_the_same_comment_to_nothing(site: Site) -> None:
    site.job("preview")

    [comment] = site.hub.comments
    assert "No changes; " in comment["body"]
    assert "Nothing happens to any of the machines." in comment["body"]
    assert comment["body"] in (site.folder / ".twin-summary").read_text()


def test_4_one_host_more_and_a_raised_generation_are_told_before_they_happen(site: Site) -> None:
    path = site.folder / "Pulumi.dev.yaml"
    before = path.read_text()
    document = yaml.safe_load(before)
    hosts = document["config"]["keystone:hosts"]
    address = str(hosts["w1"]["address"]).rsplit(".", 1)[0] + ".77"
    hosts["w9"] = {
        **hosts["w1"],
        "address": address,
        "mac": "02:00:00:79:09:09",
        "disk": "/dev/disk/by-id/virtio-w9-system",
        "diskSerial": "w9-system",
        "osdDisks": ["/dev/disk/by-id/virtio-w9-osd0"],
        "machineSerial": "twin-w9",
    }
    hosts["w1"]["installGeneration"] = 2
    hosts["primer"]["labels"] = {"keystone.internal/room": "cellar"}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    try:
        site.keystone("facts", "--stack", "dev")
        site.job("preview")
        body = site.hub.comments[0]["body"]
        assert "| `w1` | **reinstalled** | installGeneration 1 -> 2; its disk is erased |" in body
        assert "| `w9` | installed |" in body
        # The twin's stand-in for Nix builds and does not evaluate; the base is missing besides.
        assert "| `primer` | switched | switch; reboot not determined" in body
        assert not list(formats.find(body.encode()))
    finally:
        path.write_text(before)
        site.keystone("facts", "--stack", "dev")


def test_5_drift_opens_an_issue_and_closes_it_when_it_is_gone(site: Site) -> None:
    label = "pod-security.kubernetes.io/warn"
    assert site.job("drift") == ["Compare with what is there, and say it in an issue"]
    assert site.hub.issues == []

    site.kubectl("label", "namespace", "keystone-system", f"{label}=baseline", "--overwrite")
    site.job("drift")
    [issue] = site.hub.issues
    assert f'`metadata.labels["{label}"]`' in issue["body"]

    site.kubectl("label", "namespace", "keystone-system", f"{label}=restricted", "--overwrite")
    site.job("drift")
    assert issue["state"] == "closed"


def test_6_the_outputs_are_those_of_the_schema_and_hide_the_kubeconfig(site: Site) -> None:
    found = json.loads(site.pulumi("stack", "output", "--json", "--show-secrets"))
    jsonschema.validate(found, json.loads((PROJECT / outputs.PATH).read_text()))
    read = outputs.parse(found)
    assert read.nodes["w1"].mesh.startswith("100.")
    assert "kind: Config" in read.kubeconfig or '"kind"' in read.kubeconfig

    hidden = json.loads(site.pulumi("stack", "output", "--json"))
    assert {name for name, value in hidden.items() if value == "[secret]"} == set(outputs.SECRET)


def test_7_another_project_deploys_by_the_outputs_alone(site: Site) -> None:
    folder = site.folder / "examples/consumer"
    site.pulumi("stack", "init", folder=folder)
    site.pulumi("up", "--yes", "--skip-preview", folder=folder)

    wanted = "deploy,service,pvc,httproute,configmap"
    found = json.loads(site.kubectl("get", wanted, "-n", "hello", "-o", "json"))["items"]
    kinds = {one["kind"]: one for one in found if one["metadata"]["name"].startswith("hello")}
    assert set(kinds) == {"Deployment", "Service", "PersistentVolumeClaim", "HTTPRoute", "ConfigMap"}
    services = json.loads(site.pulumi("stack", "output", "services", "--json"))
    assert kinds["HTTPRoute"]["spec"]["hostnames"] == ["hello.keystone.internal"]
    [parent] = kinds["HTTPRoute"]["spec"]["parentRefs"]
    assert (parent["namespace"], parent["name"]) == (services["gateway"]["namespace"], services["gateway"]["name"])
    assert kinds["PersistentVolumeClaim"]["spec"]["storageClassName"] == services["storageClass"]
    assert kinds["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(kinds["ConfigMap"]["data"]["hello.json"])["uid"] == "hello"
    [pod] = json.loads(site.kubectl("get", "pods", "-n", "hello", "-o", "json"))["items"]
    assert pod["spec"]["containers"][0]["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]

    site.pulumi("preview", "--expect-no-changes", folder=folder)
    state = site.pulumi("stack", "export", folder=folder)
    assert "client-key-data" not in state
    assert "PRIVATE KEY" not in state


def test_8_what_the_project_made_goes_without_a_trace_in_the_cluster(site: Site) -> None:
    site.pulumi("destroy", "--yes", "--skip-preview", folder=site.folder / "examples/consumer")

    assert "hello" not in site.kubectl("get", "namespaces", "-o", "name")
    site.pulumi("preview", "--expect-no-changes")
