machine.wait_for_unit("multi-user.target")

with subtest("the installer's steps: a passphrase slot, then a TPM2 slot"):
    machine.succeed("printf %s recovery >/run/disk.key")
    machine.succeed(
        "cryptsetup --batch-mode luksFormat --type luks2 --pbkdf-force-iterations 1000 --pbkdf pbkdf2"
        " /dev/vdb /run/disk.key"
    )
    machine.succeed(
        "systemd-cryptenroll --wipe-slot=tpm2 --tpm2-device=auto --tpm2-pcrs= --unlock-key-file=/run/disk.key /dev/vdb"
    )
    machine.succeed("cryptsetup open --key-file /run/disk.key /dev/vdb crypted && mkfs.ext4 -q /dev/mapper/crypted")
    machine.succeed("mkdir -p /encrypted && mount /dev/mapper/crypted /encrypted && echo opened >/encrypted/proof")
    machine.succeed("umount /encrypted && cryptsetup close crypted")
    slots = machine.succeed("systemd-cryptenroll /dev/vdb")
    assert "password" in slots, slots
    assert "tpm2" in slots, slots

with subtest("the next boot opens the disk without a word"):
    machine.succeed("bootctl set-default nixos-generation-1-specialisation-unlock.conf && sync")
    machine.crash()
    machine.start()
    machine.wait_for_unit("multi-user.target")
    assert machine.succeed("cat /encrypted/proof").strip() == "opened"

with subtest("opening the disk is measured, so that nothing later gets the key again"):
    machine.succeed(
        "test $(systemd-analyze pcrs 15 --json=short | grep -c 0000000000000000000000000000000000000000) -eq 0"
    )

with subtest("the recovery passphrase still opens the disk"):
    machine.succeed("printf %s recovery | cryptsetup open --test-passphrase --key-slot 0 /dev/vdb -")
