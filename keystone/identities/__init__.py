"""Every identity of a cluster, derived from its one root secret: same inputs, same bytes.

So all keys exist before a machine does, host keys are pinned from the first connection, and a destroyed cluster comes
back with the same identities. Rotation is a higher generation. Nothing here reads a file or makes a random number.
"""

import hashlib
import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keystone.errors import KeystoneError
from keystone.identities import certificates
from keystone.identities.derive import clamp, derive, label, p256_key, root_bytes
from keystone.identities.openssh import SshKey, ssh_key

__all__ = ["CLUSTER_CAS", "CLUSTER_GENERATION", "Identities", "SshKey", "disk_guid"]

# k3s' custom CA files below server/tls; common names as in k3s' contrib/util/generate-custom-ca-certs.sh.
CLUSTER_CAS = {
    "client-ca": "k3s-client-ca",
    "server-ca": "k3s-server-ca",
    "request-header-ca": "k3s-request-header-ca",
    "etcd/peer-ca": "k3s-etcd-peer-ca",
    "etcd/server-ca": "k3s-etcd-server-ca",
}
# What belongs to the cluster and not to one host has one generation so far.
CLUSTER_GENERATION = 1
DISK_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "disks.keystone")
# Crockford's base 32: no letter that is taken for a digit when somebody types the passphrase at a console.
PASSPHRASE_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def disk_guid(cluster: str, host: str, generation: int) -> str:
    """Return the GPT disk GUID (lower case, as lsblk prints it) that marks an install of this host as our own.

    Not a secret: it only names cluster, host and generation.
    """
    return str(uuid.uuid5(DISK_NAMESPACE, label(cluster, "disk", host, generation).decode()))


def _typed(number: int) -> str:
    """160 bits as eight groups of four letters and digits."""
    letters = "".join(PASSPHRASE_LETTERS[number >> 5 * at & 31] for at in range(32))
    return "-".join(letters[at : at + 4] for at in range(0, 32, 4))


@dataclass(frozen=True)
class Identities:
    """The identities of the cluster `cluster`, from a root secret of 64 hex digits.

    `generation` is the host's install generation. Raises KeystoneError for a root secret of another form.
    """

    root_secret: str = field(repr=False)
    cluster: str

    def __post_init__(self) -> None:
        root_bytes(self.root_secret)
        if not self.cluster:
            raise KeystoneError("keystone:cluster.name", "empty", "Name the cluster")

    def _bytes(self, purpose: str, name: str = "", generation: int = CLUSTER_GENERATION, length: int = 32) -> bytes:
        return derive(root_bytes(self.root_secret), label(self.cluster, purpose, name, generation), length)

    # SSH

    def _ssh(self, purpose: str, name: str = "", generation: int = CLUSTER_GENERATION) -> SshKey:
        seed = self._bytes(purpose, name, generation)
        return ssh_key(seed, self._bytes(f"{purpose} check", name, generation, 4))

    def ssh_host_key(self, host: str, generation: int) -> SshKey:
        """Return the host key of the installed system."""
        return self._ssh("ssh host key", host, generation)

    def initrd_host_key(self, host: str, generation: int) -> SshKey:
        """Return the host key of the initrd. Another one, because it lies unencrypted on the boot partition."""
        return self._ssh("initrd ssh host key", host, generation)

    def operator_key(self) -> SshKey:
        """Return the key with which Keystone itself logs in on every host."""
        return self._ssh("operator ssh key")

    def age_recipient(self, host: str, generation: int) -> str:
        """Return the recipient of a host's age files: its SSH host key, with which agenix decrypts."""
        return self.ssh_host_key(host, generation).public

    # k3s

    def _ca(self, purpose: str, common_name: str, path_length: int | None = None) -> tuple[str, str]:
        key = p256_key(self._bytes(purpose, length=40))
        serial = certificates.serial_number(self._bytes(f"{purpose} serial"))
        return certificates.authority(common_name, key, serial, path_length), certificates.key_pem(key)

    @cached_property
    def _cluster_cas(self) -> dict[str, str]:
        files = {}
        for name, common_name in CLUSTER_CAS.items():
            stamp = int(certificates.NOT_BEFORE.timestamp())
            files[f"{name}.crt"], files[f"{name}.key"] = self._ca(f"cluster {name}", f"{common_name}@{stamp}")
        return files

    def cluster_cas(self) -> dict[str, str]:
        """Return k3s' custom CA files (PEM) by their path below /var/lib/rancher/k3s/server/tls, service.key too.

        Each CA signs itself and stands alone in its file: for such a file the token carries the hash of the file.
        """
        return {**self._cluster_cas, "service.key": self.service_account_key()}

    def service_account_key(self, generation: int = CLUSTER_GENERATION) -> str:
        """Return the key (P-256, PEM) of a generation, with which service-account tokens are signed (ES256)."""
        return certificates.key_pem(p256_key(self._bytes("service account key", generation=generation, length=40)))

    def _token(self, user: str) -> str:
        # docs.k3s.io/cli/token: for one self-signed CA the hash is that of the PEM file as it is stored.
        digest = hashlib.sha256(self._cluster_cas["server-ca.crt"].encode()).hexdigest()
        return f"K10{digest}::{user}:{self._bytes(f'{user} token').hex()}"

    def server_token(self) -> str:
        """Return the token with which servers join. It also encrypts the bootstrap data in the datastore."""
        return self._token("server")

    def agent_token(self) -> str:
        """Return the token with which agents join; k3s takes it as `--agent-token` on servers, `--token` on agents."""
        return self._token("node")

    # Mesh

    def _x25519(self, purpose: str) -> bytes:
        return clamp(self._bytes(purpose))

    def headscale_noise_key(self) -> str:
        """Return Headscale's noise private key, as its file holds it."""
        return f"privkey:{self._x25519('headscale noise key').hex()}"

    def headscale_noise_public_key(self) -> str:
        """Return what Headscale answers as `publicKey` at /key: `mkey:` and 64 hex digits."""
        private = X25519PrivateKey.from_private_bytes(self._x25519("headscale noise key"))
        return f"mkey:{private.public_key().public_bytes_raw().hex()}"

    def headscale_derp_key(self) -> str:
        """Return the private key of the embedded DERP relay. Headscale refuses to share it with the noise key."""
        return f"privkey:{self._x25519('headscale derp key').hex()}"

    def mesh_ca(self) -> tuple[str, str]:
        """Return the private CA of the mesh: certificate and key, both PEM. It signs servers only, no further CA."""
        return self._ca("mesh ca", f"{self.cluster[:56]} mesh CA", path_length=0)

    def mesh_certificate(self, names: Sequence[str]) -> tuple[str, str]:
        """Return certificate and key (PEM) of the mesh controller for DNS names and addresses, in any order.

        Apple's system verifier refuses server certificates that are valid for more than 825 days: users of such
        clients set `mesh.tls` to acmeDns.
        """
        if not names:
            raise KeystoneError("mesh certificate", "no name given", "Give the host of mesh.serverUrl")
        return self._server("mesh tls", names)

    def linkerd_anchor(self, cluster_domain: str) -> tuple[str, str]:
        """Return the trust anchor of the service mesh: certificate and key, both PEM. It signs Linkerd's issuers."""
        return self._ca("linkerd anchor", f"root.linkerd.{cluster_domain}"[:64])

    def object_store_certificate(self, names: Sequence[str]) -> tuple[str, str]:
        """Return certificate and key (PEM) of the cluster's object store. The authority is that of the mesh."""
        return self._server("object store tls", names)

    def _server(self, purpose: str, names: Sequence[str]) -> tuple[str, str]:
        wanted = sorted({name.strip("[]").lower() for name in names})
        ca_certificate, _ = self.mesh_ca()
        key = p256_key(self._bytes(f"{purpose} key", length=40))
        # One serial number per set of names (RFC 5280: unique per issuer).
        serial = certificates.serial_number(self._bytes(f"{purpose} serial", ",".join(wanted)))
        ca_key = p256_key(self._bytes("mesh ca", length=40))
        return certificates.server(wanted, key, serial, ca_certificate, ca_key), certificates.key_pem(key)

    # Disks and files

    def recovery_passphrase(self, host: str, generation: int) -> str:
        """Return the passphrase of the host's disks: 160 bits as eight groups of four letters and digits."""
        number = int.from_bytes(self._bytes("recovery passphrase", host, generation, 20), "big")
        return _typed(number)

    def backup_key(self, generation: int) -> SshKey:
        """Return the key of the copies off the site: machines know its public half, a restore derives the other."""
        return self._ssh("backup key", generation=generation)

    def grafana_password(self) -> str:
        """Return the password of Grafana's first administrator, in the form of a passphrase."""
        return _typed(int.from_bytes(self._bytes("grafana admin password", length=20), "big"))

    def fingerprint(self, name: str, content: bytes) -> str:
        """Return the keyed hash (HMAC-SHA256, hex) of a secret file: tells whether it changed, and nothing else."""
        mac = hmac.new(self._bytes("fingerprints"), digestmod=hashlib.sha256)
        # The name's length first, so that no other split of name and content has the same hash.
        mac.update(len(name.encode()).to_bytes(4, "big") + name.encode() + content)
        return mac.hexdigest()
