"""A host that is a real Debian: booted by systemd, with packages, services and a network of its own."""

import functools
from collections.abc import Callable
from pathlib import Path

from rehearsal.hosts import aws_sites, cable, cache, certificates, code_server_package, registry_proxy, seed, standins
from rehearsal.hosts.certificates import Authority
from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.container import Container
from rehearsal.hosts.devices import Devices
from rehearsal.hosts.enclosed import EnclosedHost
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.netns import NetworkNamespace
from rehearsal.hosts.requirements import missing
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.service import Service
from rehearsal.hosts.userns import UserNamespace

_BOOT_TIMEOUT = 90.0


class BootedHost(EnclosedHost):
    """A `Machine` (see there) of a Debian suite whose images are built (see `images`)."""

    def __init__(self, name: str, *, region: str, suite: str, folder: Path | None = None) -> None:
        super().__init__(name, region=region, folder=folder)
        self._rootfs = Rootfs(suite)

    def _require(self) -> None:
        if gaps := missing(self._rootfs.suite):
            raise HostError(
                f"A {self._rootfs.suite} host can't be booted",
                why="; ".join(f"{gap.what} is missing ({gap.why})" for gap in gaps),
                remedy="\n".join(dict.fromkeys(gap.remedy for gap in gaps)),
            )

    def _start(self, owner: UserNamespace, devices: Devices) -> None:
        self._disk.take(self._rootfs.suite, self._rootfs.tree)
        authority = certificates.for_region(self._region, self._disk.file("authority.pem"))
        self._serve(owner.network, authority)
        container = Container(self._name, self._rootfs, owner, devices)
        self._enclosed_by(container)
        container.start(self._seed(authority), self._disk)
        container.ready_leader(_BOOT_TIMEOUT)

    def _seed(self, authority: Authority) -> bytes:
        volumes = self._slots.plug_all()
        if self._disk.used:
            return seed.archive_of_volumes(volumes)
        return seed.archive(
            name=self._name,
            region=self._region,
            tree=self._rootfs.tree,
            authority=authority.certificate,
            volumes=volumes,
        )

    def _serve(self, network: NetworkNamespace, authority: Authority) -> None:
        packages = cache.directory() / "debian-packages"
        listener = network.listen(registry_proxy.ADDRESS, registry_proxy.PORT)
        self._undo.append(Service(listener, registry_proxy.handler(packages, self._rootfs.archives)).close)
        outside = NetworkNamespace()
        self._undo.append(outside.close)
        _lay_cable(network, outside)
        neuron = standins.NeuronRepository(self._rootfs.suite, self._rootfs.neuron_repository)
        listener = outside.listen(standins.ADDRESS, standins.PORT)
        handler = standins.handler(_release(), neuron, self._aws)
        self._undo.append(Service(listener, handler, authority.server).close)
        listener = outside.listen(aws_sites.METADATA, aws_sites.METADATA_PORT)
        self._undo.append(Service(listener, aws_sites.handler(self._aws)).close)


def factory(suite: str) -> Callable[..., BootedHost]:
    """A `MachineFactory` for hosts of that suite."""
    return functools.partial(BootedHost, suite=suite)


def _lay_cable(host: NetworkNamespace, outside: NetworkNamespace) -> None:
    try:
        cable.connect(
            cable.End(host, (f"{standins.HOST_ADDRESS}/{standins.PREFIX_LENGTH}",), reaches=(aws_sites.METADATA,)),
            cable.End(outside, (f"{standins.ADDRESS}/{standins.PREFIX_LENGTH}", f"{aws_sites.METADATA}/32")),
        )
    except OSError as error:
        raise HostError(
            "The host could not be connected to the sites that stand in for the internet's",
            why=str(error),
            remedy="Boot hosts on a kernel with virtual Ethernet (modprobe veth).",
        ) from error


def _release() -> standins.Release:
    version = code_server_package.VERSION
    architecture = code_server_package.debian_architecture()
    return standins.Release(version, f"code-server_{version}_{architecture}.deb", CodeServerPackage().path)
