GUID = "00000000-0000-5000-8000-000000000003"
PASSPHRASE = "0123-4567-89ab"
SSH = "-i /etc/test/key -p 22"

start_all()
installer.wait_for_unit("sshd.service")
deployer.wait_for_unit("multi-user.target")
deployer.succeed("install -d -m 700 /root/extra/etc/ssh && install -m 600 /etc/test/key /root/key")
for name in ("ssh_host_ed25519_key", "initrd_ssh_host_ed25519_key"):
    deployer.succeed(f"ssh-keygen -q -t ed25519 -N '' -f /root/extra/etc/ssh/{name}")
deployer.succeed(f"printf %s {PASSPHRASE} >/root/disk.key")

with subtest("Ceph's disk has something on it that must stay"):
    installer.succeed("printf keep-me | dd of=/dev/disk/by-id/virtio-ceph bs=1 conv=notrunc 2>/dev/null")

with subtest("the machine is installed"):
    deployer.succeed(
        "nixos-anywhere --store-paths $(cat /etc/test/disko) $(cat /etc/test/toplevel) -i /root/key"
        " --extra-files /root/extra --disk-encryption-keys /run/keystone/disk.key /root/disk.key"
        " --phases disko,install --no-disko-deps root@installer >&2",
        timeout=900,
    )

with subtest("the disk carries our GUID, LUKS2 and the installed system"):
    assert GUID in installer.succeed("sgdisk --print /dev/disk/by-id/virtio-system").lower()
    luks = installer.succeed("cryptsetup luksDump /dev/disk/by-partlabel/disk-main-luks")
    assert "Version:       \t2" in luks or "Version:        2" in luks.replace("\t", " "), luks
    installer.succeed(
        f"printf %s {PASSPHRASE} | cryptsetup open --test-passphrase /dev/disk/by-partlabel/disk-main-luks -"
    )
    installer.succeed("test -s /mnt/etc/ssh/ssh_host_ed25519_key")

with subtest("Ceph's disk is as it was"):
    assert installer.succeed("dd if=/dev/disk/by-id/virtio-ceph bs=1 count=7 2>/dev/null") == "keep-me"
    assert "PTTYPE" not in installer.succeed("blkid -p /dev/disk/by-id/virtio-ceph || true")
