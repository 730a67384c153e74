#!/usr/bin/env bash
# Virtual machines for the full deployment test: docs/operations/full-deployment-test.md.
#
#   libvirt.sh up ISO      a network and four machines that boot the installer
#   libvirt.sh stack       their entries for the stack file
#   libvirt.sh keys        the installers' host keys, as they answer now
#   libvirt.sh forget-tpm NAME, cut NAME
#   libvirt.sh down        remove machines, disks and network
#
# Stack file: sites: {lab: {cidr: 192.168.150.0/24, gateway: 192.168.150.1, nameservers: [192.168.150.1]}}
#             mesh:  {serverUrl: "https://192.168.150.10:8443", domain: mesh.lab}
set -euo pipefail

network=keystone-lab
pool=${LIBVIRT_FOLDER:-/var/lib/libvirt/images}
names=(primer w1 w2 w3)

usage() {
  sed -n '2,8p' "$0" >&2
  exit 2
}

number() {
  local n
  for n in "${!names[@]}"; do
    if [ "${names[$n]}" = "$1" ]; then
      echo $((10 + n))
      return
    fi
  done
  echo "$1 is none of ${names[*]}" >&2
  exit 2
}

mac() {
  printf '52:54:00:96:00:%02x' "$(number "$1")"
}

make_network() {
  if virsh net-info "$network" >/dev/null 2>&1; then
    return
  fi
  local name reservations=''
  for name in "${names[@]}"; do
    reservations+="<host mac='$(mac "$name")' ip='192.168.150.$(number "$name")'/>"
  done
  virsh net-define /dev/stdin <<EOF
<network>
  <name>$network</name>
  <forward mode='nat'/>
  <ip address='192.168.150.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.150.100' end='192.168.150.150'/>$reservations</dhcp>
  </ip>
</network>
EOF
  virsh net-start "$network"
}

up() {
  local iso=$1 name
  make_network
  for name in "${names[@]}"; do
    # shellcheck disable=SC2054  # commas belong to virt-install's values
    virt-install --name "lab-$name" --memory 3072 --vcpus 2 --osinfo nixos-unstable --noautoconsole \
      --cdrom "$iso" --network "network=$network,mac=$(mac "$name")" \
      --disk "path=$pool/lab-$name-system.qcow2,size=12,bus=scsi,serial=$name-system" \
      --disk "path=$pool/lab-$name-osd.qcow2,size=4,bus=scsi,serial=$name-osd" \
      --controller type=scsi,model=virtio-scsi \
      --tpm backend.type=emulator,backend.version=2.0,model=tpm-crb \
      --boot firmware=efi,firmware.feature0.name=secure-boot,firmware.feature0.enabled=yes,firmware.feature1.name=enrolled-keys,firmware.feature1.enabled=no,hd,cdrom \
      --events on_reboot=restart --sysinfo "system.serial=lab-$name"
  done
}

stack() {
  local name role=primer
  for name in "${names[@]}"; do
    cat <<EOF
$name:
  role: $role
  site: lab
  address: 192.168.150.$(number "$name")
  mac: "$(mac "$name")"
  disk: /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_$name-system
  diskSerial: $name-system
  osdDisks: [/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_$name-osd]
  machineSerial: lab-$name
EOF
    role=agent
  done
}

keys() {
  local name
  # The virtual network is this computer's own, so asking the machines themselves is good enough here.
  for name in "${names[@]}"; do
    printf '%s: installerHostKey: ' "$name"
    ssh-keyscan -T 5 -t ed25519 "192.168.150.$(number "$name")" 2>/dev/null | cut -d' ' -f2,3
  done
}

forget_tpm() {
  local uuid
  number "$1" >/dev/null
  virsh destroy "lab-$1" || true
  uuid=$(virsh domuuid "lab-$1")
  rm -r "/var/lib/libvirt/swtpm/${uuid:?}"
  virsh start "lab-$1"
}

down() {
  local name
  for name in "${names[@]}"; do
    virsh destroy "lab-$name" 2>/dev/null || true
    virsh undefine "lab-$name" --nvram --tpm --remove-all-storage 2>/dev/null || true
  done
  virsh net-destroy "$network" 2>/dev/null || true
  virsh net-undefine "$network" 2>/dev/null || true
}

case ${1:-} in
  up) [ $# = 2 ] || usage; up "$2" ;;
  stack) stack ;;
  keys) keys ;;
  forget-tpm) [ $# = 2 ] || usage; forget_tpm "$2" ;;
  cut) [ $# = 2 ] || usage; number "$2" >/dev/null; virsh reset "lab-$2" ;;
  down) down ;;
  *) usage ;;
esac
