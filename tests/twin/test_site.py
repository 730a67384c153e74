"""Promises about a twin's place on the computer."""

import stat
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from keystone.errors import KeystoneError
from tests.networks import Network
from tests.twin import sites
from twin.site import Site, twin_options


def project(folder: Path, **options: object) -> Path:
    config = {f"keystone:{key}": value for key, value in sites.document(Network("127.78.90", 90)).items()}
    config["keystone:rootSecret"] = {"secure": "v1:AAAAAAAAAAAAAAAA:AAAA"}
    config |= {f"twin:{key}": value for key, value in options.items()}
    (folder / "Pulumi.trial.yaml").write_text(yaml.safe_dump({"config": config}))
    return folder


def test_a_stack_without_a_twin_network_has_no_twin(tmp_path: Path) -> None:
    assert Site.read("trial", project(tmp_path)) is None


def test_a_site_has_the_options_of_its_stack_file(tmp_path: Path) -> None:
    site = Site.read("trial", project(tmp_path, network="127.78.90.0/24", installSeconds=7, passphrase="other"))
    assert site is not None
    assert (site.network, site.install_seconds, site.passphrase) == (IPv4Network("127.78.90.0/24"), 7.0, "other")
    assert site.settings.primer[0] == "primer"
    assert site.root == tmp_path / ".twin/trial"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "127.78.90.0/24", "colour": "red"}, "twin:colour: is not an option of the twin"),
        ({"network": "10.0.0.0/24"}, "10.0.0.0/24 is not a loopback range. Give a range inside 127.0.0.0/8"),
        ({"network": "127.78.90.7/24"}, "127.78.90.7/24 has host bits set"),
        ({"network": "127.78.90.0/24", "installSeconds": "soon"}, "twin:installSeconds: 'soon' is not a number"),
        ({"network": "127.78.90.0/24", "installSeconds": 601}, "twin:installSeconds: 601 is not a number of seconds"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(KeystoneError) as caught:
        Site.read("trial", project(tmp_path, **options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_stack_file_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(KeystoneError, match=r"Pulumi.nope.yaml: there is no such stack file. Make it with"):
        twin_options("nope", tmp_path)


def test_a_stack_file_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.bad.yaml").write_text("config: [unclosed\n  - x: {")
    with pytest.raises(KeystoneError, match=r"Pulumi.bad.yaml: is not sound YAML: .* in line 2") as caught:
        twin_options("bad", tmp_path)
    assert "\n" not in str(caught.value)


def test_sockets_fit_into_107_bytes_and_the_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    site = Site.read("trial", project(deep, network="127.78.90.0/24"))
    assert site is not None
    site.make_run_folder()
    assert stat.S_IMODE(site.run.stat().st_mode) == 0o700
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    assert len(str(site.socket("h" * 63 + ".ts"))) <= 107
    assert site.socket("h" * 63 + "1") != site.socket("h" * 63 + "2")


def test_a_run_folder_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    (tmp_path / "elsewhere").mkdir()
    site = Site.read("trial", project(tmp_path, network="127.78.90.0/24"))
    assert site is not None
    site.run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeystoneError, match="is a link or belongs to another user"):
        site.make_run_folder()


def test_two_projects_have_two_run_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = Site.read("trial", project(tmp_path / "a", network="127.78.90.0/24"))
    two = Site.read("trial", project(tmp_path / "b", network="127.78.90.0/24"))
    assert one is not None
    assert two is not None
    assert one.run != two.run
