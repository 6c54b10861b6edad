"""A host that is a real Debian: booted by systemd, with packages, services and a network of its own."""

import functools
import posixpath
import shlex
import threading
from collections.abc import Callable, Mapping

from rehearsal.hosts import cable, cache, certificates, code_server_package, registry_proxy, seed, standins
from rehearsal.hosts.agent_process import run_script
from rehearsal.hosts.certificates import Authority
from rehearsal.hosts.code_server_package import CodeServerPackage
from rehearsal.hosts.container import Container
from rehearsal.hosts.forward import Forward
from rehearsal.hosts.machine import HostError, ScriptResult
from rehearsal.hosts.netns import NetworkNamespace
from rehearsal.hosts.requirements import missing
from rehearsal.hosts.rootfs import Rootfs
from rehearsal.hosts.service import Service
from rehearsal.hosts.volumes import Slots, Volume

_BOOT_TIMEOUT = 90.0
_FORWARD_ADDRESS = "127.0.0.1"


class BootedHost:
    """A `Machine` (see there) of a Debian suite whose images are built (see `images`)."""

    def __init__(self, name: str, *, region: str, suite: str) -> None:
        self._name = name
        self._region = region
        self._rootfs = Rootfs(suite)
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []
        self._container: Container | None = None
        self._network: NetworkNamespace | None = None
        self._slots = Slots()

    @property
    def name(self) -> str:
        return self._name

    def boot(self) -> None:
        with self._lock:
            if self._container is not None:
                return
            _require(self._rootfs.suite)
            try:
                self._start()
            except BaseException:
                self._clean_up()
                raise

    def run(
        self,
        script: str,
        *,
        environment: Mapping[str, str],
        working_directory: str | None,
        timeout: float,
        cancelled: threading.Event,
        script_path: str,
    ) -> ScriptResult:
        return run_script(
            self._running(),
            script,
            environment=environment,
            working_directory=working_directory,
            timeout=timeout,
            cancelled=cancelled,
            script_path=script_path,
        )

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        folder = shlex.quote(posixpath.dirname(path))
        # Written beside and renamed, so that a reader in the host never sees half of it.
        command = f'mkdir -p {folder} && new=$(mktemp {folder}/.new.XXXXXX) && cat >"$new"'
        command += f' && chmod {mode:o} "$new" && mv -T "$new" {shlex.quote(path)}'
        self._running().execute(command, text, purpose=f"write {path}")

    def read_file(self, path: str) -> str:
        return self._running().execute(f"cat -- {shlex.quote(path)}", "", purpose=f"read {path}")

    def forward(self, port: int) -> int:
        self._running()
        with self._lock:
            network = self._network
            if network is None:
                raise _not_booted(self._name)
            forward = Forward(lambda: network.connect(_FORWARD_ADDRESS, port))
            self._undo.append(forward.close)
            return forward.port

    def attach_volume(self, volume: Volume) -> None:
        with self._lock:
            self._slots.add(volume)
            if self._container is None:
                return
            try:
                self._tell_of_volume("plug", volume, self._slots.plug(volume))
            except BaseException:
                self._slots.remove(volume)
                raise

    def detach_volume(self, volume: Volume) -> bool:
        with self._lock:
            if self._slots.in_use(volume):
                return False
            if self._container is not None:
                self._tell_of_volume("unplug", volume)
            self._slots.remove(volume)
            return True

    def destroy(self) -> None:
        with self._lock:
            self._clean_up()

    def _tell_of_volume(self, verb: str, volume: Volume, record: str = "") -> None:
        command = f"sh {seed.VOLUMES_SCRIPT} {verb} {volume.serial}"
        self._running().execute(command, record, purpose=f"{verb} {volume.volume_id}")

    def _start(self) -> None:
        authority = _authority()
        network = self._network = NetworkNamespace()
        self._undo.append(network.close)
        self._serve(network, authority)
        container = Container(self._name, self._rootfs, network)
        # Undone after the host has stopped: its mounts keep a device busy.
        self._undo.append(self._slots.remove_all)
        self._undo.append(container.stop)
        self._container = container
        container.start(
            seed.archive(
                name=self._name,
                region=self._region,
                tree=self._rootfs.tree,
                authority=authority.certificate,
                volumes=self._slots.plug_all(),
            )
        )
        container.ready_leader(_BOOT_TIMEOUT)

    def _serve(self, network: NetworkNamespace, authority: Authority) -> None:
        packages = cache.directory() / "debian-packages"
        listener = network.listen(registry_proxy.ADDRESS, registry_proxy.PORT)
        self._undo.append(Service(listener, registry_proxy.handler(packages)).close)
        outside = NetworkNamespace()
        self._undo.append(outside.close)
        _lay_cable(network, outside)
        neuron = standins.NeuronRepository(self._rootfs.suite, self._rootfs.neuron_repository)
        listener = outside.listen(standins.ADDRESS, standins.PORT)
        self._undo.append(Service(listener, standins.handler(_release(), neuron), authority.server).close)

    def _clean_up(self) -> None:
        """Undo what was set up, last first. What fails to be undone is tried again by the next call."""
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        self._container = self._network = None

    def _running(self) -> Container:
        container = self._container
        if container is None:
            raise _not_booted(self._name)
        return container


def factory(suite: str) -> Callable[..., BootedHost]:
    """A `MachineFactory` for hosts of that suite."""
    return functools.partial(BootedHost, suite=suite)


@functools.cache
def _authority() -> Authority:
    """One for this process: hosts of one run trust the same stand-ins."""
    return certificates.create(standins.NAMES)


def _require(suite: str) -> None:
    if gaps := missing(suite):
        raise HostError(
            f"A {suite} host can't be booted",
            why="; ".join(f"{gap.what} is missing ({gap.why})" for gap in gaps),
            remedy="\n".join(dict.fromkeys(gap.remedy for gap in gaps)),
        )


def _lay_cable(host: NetworkNamespace, outside: NetworkNamespace) -> None:
    try:
        cable.connect(
            cable.End(host, f"{standins.HOST_ADDRESS}/{standins.PREFIX_LENGTH}"),
            cable.End(outside, f"{standins.ADDRESS}/{standins.PREFIX_LENGTH}"),
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


def _not_booted(name: str) -> HostError:
    return HostError(f"Host {name} can't be used", why="it is not running", remedy="Boot it first.")
