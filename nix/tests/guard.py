import json

ROOT = "00" * 31 + "01"
IDENTITIES = f"from keystone.identities import Identities, disk_guid; i = Identities('{ROOT}', 'vm')"


def python(expression: str) -> str:
    return deployer.succeed(f'cd /etc/keystone-test && python3 -c "{IDENTITIES}; print({expression}, end=str())"')


def install(stack: str) -> tuple[int, str]:
    return deployer.execute(
        f"cd /etc/keystone-test && printf %s {ROOT} | python3 -m keystone.hosts --stack {stack} install target 2>&1"
    )


start_all()
target.wait_for_unit("multi-user.target")
deployer.wait_for_unit("multi-user.target")

with subtest("the machine is one that generation 1 installed"):
    key = python("i.ssh_host_key('target', 1).private")
    target.succeed(
        f"cat >/etc/ssh/key.new <<'EOF'\n{key}\nEOF\ninstall -m 600 /etc/ssh/key.new /etc/ssh/ssh_host_ed25519_key"
    )
    operator = python("i.operator_key().public")
    target.succeed(f"install -d -m 700 /root/.ssh && printf '%s\\n' '{operator}' >/root/.ssh/authorized_keys")
    marker = {"host": "target", "cluster": "vm", "generation": 1, "diskGuid": python("disk_guid('vm', 'target', 1)")}
    target.succeed(f"mkdir -p /etc/keystone && printf '%s' '{json.dumps(marker)}' >/etc/keystone/install.json")
    target.succeed("systemctl restart sshd.service")

with subtest("the same generation is adopted and nothing is written"):
    status, said = install("one")
    assert status == 0, said

with subtest("another generation without the confirmation is refused"):
    status, said = install("two")
    assert status == 3, (status, said)
    deployer.log(said)

with subtest("the machine was not touched"):
    assert json.loads(target.succeed("cat /etc/keystone/install.json")) == marker
    target.succeed("systemctl is-active sshd.service")
