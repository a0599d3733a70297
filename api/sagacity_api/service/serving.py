"""Running the service: one process, the loopback interface, a clean end.

The port is bound first, so that a taken one is refused before anything is loaded; then `/livez` answers while
the model loads in a thread of its own, and `/readyz` follows. A model that does not load ends the process.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn

from sagacity_api.counsel import Counsel
from sagacity_api.service.app import LOOPBACK_HOSTS, create_app
from sagacity_api.service.desk import CounselSlot

SHUTDOWN_S = 10


class HostForbidden(Exception):
    """Anything but the loopback interface is refused as long as the service authenticates nobody."""


class PortTaken(Exception):
    """The port cannot be bound; the message names it and the way out."""


def serve(host: str, port: int, load: Callable[[], Counsel], tell_url: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT, then lets requests under way end.

    `load` is called once, in a thread; what it raises ends the service and is raised here. `tell_url` is
    called when questions can be answered. `port` 0 takes a free one. Raises `HostForbidden` and `PortTaken`.
    """
    listener = bound(host, port)
    try:
        _Run(listener, load, tell_url).until_stopped()
    finally:
        listener.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to a loopback address; raises `HostForbidden` or `PortTaken`."""
    family, address = loopback_address(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        way_out = "choose another with --port, or 0 for a free one"
        raise PortTaken(f"port {port} of {host} cannot be bound ({error.strerror}); {way_out}") from None
    return listener


def loopback_address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The address to bind; raises `HostForbidden` unless every address of `host` is a loopback one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostForbidden(f"host {host!r} is no address of this machine; use 127.0.0.1") from None
    addresses = [(family, (str(address[0]), port)) for family, _, _, _, address in found]
    if not all(ipaddress.ip_address(name.partition("%")[0]).is_loopback for _, (name, _) in addresses):
        raise HostForbidden(
            f"host {host!r} is not the loopback interface, and the service authenticates nobody yet; "
            "use 127.0.0.1, and put a proxy that authenticates in front of it"
        )
    return addresses[0]


class _Run:
    """One life of the service."""

    def __init__(
        self, listener: socket.socket, load: Callable[[], Counsel], tell_url: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._load = load
        self._tell_url = tell_url
        self._slot = CounselSlot()
        self._problem: BaseException | None = None
        app = create_app(self._slot, on_start=self._start_loading, hosts=LOOPBACK_HOSTS | {self._name()})
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )

    def until_stopped(self) -> None:
        # uvicorn raises the signal again when it has ended; that must not kill what still has to be done.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            self._server.run(sockets=[self._listener])
        finally:
            signal.signal(signal.SIGTERM, before)
        if self._problem is not None:
            raise self._problem

    def _start_loading(self) -> None:
        threading.Thread(target=self._fill_slot, name="load", daemon=True).start()

    def _fill_slot(self) -> None:
        try:
            self._slot.fill(self._load())
        except BaseException as problem:  # noqa: BLE001  it is raised again where the service ends
            self._problem = problem
            self._slot.explain("the model could not be loaded")
            self._server.should_exit = True
            return
        self._tell_url(f"http://{self._name()}:{self._listener.getsockname()[1]}")

    def _name(self) -> str:
        name: str = self._listener.getsockname()[0]
        return f"[{name}]" if ":" in name else name
