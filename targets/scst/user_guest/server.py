# SPDX-License-Identifier: GPL-2.0-or-later
"""The scst_user backend's process: its devices, and the test's commands to them.

Runs in the guest; stdlib only. targets.scst.user_guest.backend documents the commands.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from targets.backend.control_guest import Channel, Holds, Later
from targets.backend.disk import Opcode, RamDisk
from targets.scst import abi
from targets.scst.user_guest.device import Device, WriteSame
from targets.scst.user_guest.getter import Getters
from targets.scst.user_guest.memory import Memory
from targets.scst.user_guest.operation import Operation, Work, alone, together
from targets.scst.user_guest.outputs import poison
from targets.scst.user_guest.registration import RegistrationError, register
from targets.scst.user_guest.rules import Shared
from targets.scst.user_spec import OPT, DeviceSpec, raw_options

FLUSH_AFTER_MS = 5
"""Idle milliseconds after which events are sent that do not fill a pipe write."""

NOT_IN_SCST = frozenset({Opcode.SANITIZE, Opcode.ORWRITE_16})
"""Commands that SCST itself refuses while it parses them (scst_scsi_op_table, scst_lib.c)."""


@dataclass(frozen=True)
class Served:
    """A device and the threads that fetch its commands."""

    device: Device
    getters: Getters


class Server:
    """Serves devices and the test's commands, until the test sends exit or closes the channel.

    ``channel``: to the test. ``register``: the registration, or a stand-in; likewise ``ioctl``.
    """

    def __init__(
        self, channel: Channel, version_string: str, *,
        register: Callable[[DeviceSpec, str], int] = register,
        ioctl: Callable[..., Any] = fcntl.ioctl,
    ) -> None:
        self._channel = channel
        self._version_string = version_string
        self._register_device = register
        self._ioctl = ioctl
        self._memory = Memory()
        self._holds = Holds(channel)
        self._sessions: dict[int, Device] = {}
        self._shared = Shared()
        self._continued = False
        self._served: dict[str, Served] = {}
        self._leaving = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        channel.bell = partial(os.eventfd_write, self._bell, 1)
        self._handlers: dict[str, Callable[..., Any]] = {
            "hold": self._hold, "release": self._release, "close": self._close,
            "exit": self._exit, "serving": self._serving, "steps": self._steps,
            "misbehave": self._misbehave, "behave": self._behave, "answer": self._answer,
            "background": self._background, "write_same": self._write_same,
            "flush_cache": self._flush_cache, "capacity_changed": self._capacity_changed,
            "prealloc": self._prealloc, "set_options": self._set_options,
            "get_options": self._get_options, "threads": self._threads, "multi": self._multi,
            "unregister": self._unregister, "register": self._register, "fork": self._fork,
        }

    def serve(self, spec: DeviceSpec) -> None:
        """Register a device and begin to serve it. Raises RegistrationError, OSError."""
        standard = spec.option("parse_type") == abi.ParseType.STANDARD
        disk = RamDisk(spec.medium, spec.size, spec.block_size, vendor=spec.vendor,
                       product=spec.product, serial=spec.serial,
                       without=NOT_IN_SCST if standard else ())
        descriptor = self._register_device(spec, self._version_string)
        device = Device(spec, descriptor, disk, self._memory, channel=self._channel,
                        holds=self._holds, sessions=self._sessions, shared=self._shared,
                        ioctl=self._ioctl)
        getters = Getters(device)
        self._served[spec.name] = Served(device, getters)
        getters.set(spec.threads)

    def run(self) -> None:
        """Serve.

        Ends on ``exit``, or when the test closes the channel; no device is closed then.
        """
        poll = select.poll()
        poll.register(self._channel.fd_in, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while not self._leaving:
            ready = poll.poll(FLUSH_AFTER_MS if self._channel.rung else None)
            for descriptor, _ in ready:
                if descriptor == self._bell:
                    os.eventfd_read(self._bell)
                    self._report_continuation()
                else:
                    self._serve_test()
            if not ready:
                self._channel.flush_idle()
        self._channel.flush()

    def note_continuation(self, *_: object) -> None:
        """Note that the process was continued: the handler of SIGCONT."""
        self._continued = True
        os.eventfd_write(self._bell, 1)

    def _report_continuation(self) -> None:
        if self._continued:
            self._continued = False
            self._channel.emit("continued", signal=signal.SIGCONT.name)

    def _serve_test(self) -> None:
        try:
            self._channel.serve(self._handlers)
        except EOFError:
            self._leaving = True

    # choice of devices

    def _named(self, device: str | None) -> Served:
        """Return a device by name (None: the first). Raises ValueError."""
        name = next(iter(self._served)) if device is None else device
        if name not in self._served:
            raise ValueError(f"no device {name}; there are: {', '.join(self._served)}")
        return self._served[name]

    def _open(self, device: str | None) -> Served:
        served = self._named(device)
        if served.device.fd < 0:
            raise ValueError(f"the device {served.device.name} is closed")
        return served

    def _all(self, device: str | None) -> list[Served]:
        return list(self._served.values()) if device is None else [self._named(device)]

    def _review(self) -> None:
        for served in self._served.values():
            served.device.review()

    # observation and answers

    def _hold(self, device: str | None = None, **order: Any) -> None:
        if device is not None:
            self._named(device)
        self._holds.order(device=device, **order)
        self._review()

    def _release(self, device: str | None = None, nudge: bool = True) -> None:
        chosen = self._all(device)
        for served in chosen:
            self._holds.release(served.device.name)
        if device is None:
            self._holds.clear()
        self._review()
        for served in chosen:
            served.device.release()
            if nudge:
                served.getters.nudge()

    def _steps(self, on: bool, device: str | None = None) -> None:
        served = self._named(device)
        served.device.steps = on
        served.device.review()

    def _misbehave(self, device: str | None = None, **order: Any) -> None:
        self._named(device).device.misbehave(**order)

    def _behave(self, device: str | None = None) -> None:
        self._named(device).device.behave()

    def _background(self, on: bool, device: str | None = None) -> None:
        served = self._named(device)
        served.device.background = on
        served.device.review()

    def _write_same(self, by: str, device: str | None = None) -> None:
        self._named(device).device.write_same = WriteSame(by)

    def _answer(
        self, *, handle: int | None = None, count: int = 1,
        fields: Mapping[str, Any] | None = None,
        as_handle: int | None = None, times: int = 1, device: str | None = None,
    ) -> list[dict[str, Any]]:
        served = self._open(device)
        try:
            return [served.device.answer(handle, fields or {}, as_handle, times)
                    for _ in range(count)]
        finally:
            served.getters.nudge()

    # the process

    def _serving(self, device: str | None = None) -> bool:
        return self._named(device).device.fd >= 0

    def _exit(self) -> None:
        self._leaving = True

    def _fork(self) -> int:
        """Fork a child that keeps the descriptors and sleeps; return its pid."""
        self._channel.flush()
        child = os.fork()
        if child:
            return child
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # else the test would not see the parent's end
            os.dup2(nowhere, standard)
        while True:
            signal.pause()

    # operations that may block

    def _begin(self, kind: str, device: Device, work: Work) -> Operation:
        """Begin an operation; its end is an event of that kind."""
        def report(outcome: Mapping[str, Any]) -> None:
            device.voice.emit(kind, **outcome)
            device.voice.flush()
        return Operation(work, report)

    def _alone(self, kind: str, device: Device, work: Work) -> Later:
        return alone(partial(self._begin, kind, device, work))

    def _close(self, device: str | None = None) -> Later:
        chosen = [served for served in self._all(device) if served.device.fd >= 0]
        return together(lambda: {
            served.device.name: self._begin("closed", served.device, partial(_close, served))
            for served in chosen})

    def _flush_cache(self, device: str | None = None) -> Later:
        return self._plain("flushed", device, abi.FLUSH_CACHE)

    def _capacity_changed(self, device: str | None = None) -> Later:
        return self._plain("capacity_changed", device, abi.DEVICE_CAPACITY_CHANGED)

    def _unregister(self, device: str | None = None) -> Later:
        return self._plain("unregistered", device, abi.UNREGISTER_DEVICE)

    def _plain(self, kind: str, name: str | None, request: int) -> Later:
        """Begin an ioctl that has no argument."""
        device = self._open(name).device

        def work() -> None:
            device.ioctl(device.fd, request)
        return self._alone(kind, device, work)

    def _prealloc(
        self, bytes: int, count: int = 1, clustered: bool = False, device: str | None = None,
    ) -> Later:
        target = self._open(device).device
        return self._alone("preallocated", target, partial(
            _prealloc, target, bytes, count, clustered))

    def _set_options(self, options: Mapping[str, Any], device: str | None = None) -> Later:
        target, wanted = self._open(device).device, raw_options(options, OPT)
        return self._alone("options_set", target, partial(_set_options, target, wanted))

    def _get_options(self, device: str | None = None) -> dict[str, int | str]:
        options = _options(self._open(device).device)
        return {name: getattr(options, name) for name in OPT}

    def _threads(self, count: int, device: str | None = None) -> Later:
        served = self._open(device)

        def work() -> dict[str, Any]:
            served.getters.set(count)
            return {"count": served.getters.count}
        return self._alone("threads", served.device, work)

    def _multi(self, on: bool, device: str | None = None) -> Later:
        served = self._open(device)

        def work() -> dict[str, Any]:
            served.getters.fetch(on)
            return {"on": served.getters.multi, "count": served.getters.count}
        return self._alone("multi", served.device, work)

    def _register(self, spec: Mapping[str, Any]) -> Later:
        """Register a device.

        Fields left out of ``spec`` are those of the earlier device of that name.
        """
        known = self._served.get(str(spec.get("name")))
        before = asdict(known.device.spec) if known is not None else {}
        wanted = DeviceSpec.of({**before, **spec})
        voice = next(iter(self._served.values())).device.voice

        def report(outcome: Mapping[str, Any]) -> None:
            voice.channel.emit("registered", device=wanted.name, **outcome)
            voice.flush()
        return alone(lambda: Operation(partial(self.serve, wanted), report))


def _close(served: Served) -> None:
    """Make the threads return from the kernel, and close: the last close releases the device."""
    served.getters.set(0)
    descriptor = served.device.fd
    served.device.forget()
    if descriptor >= 0:
        os.close(descriptor)


def _options(device: Device) -> abi.Opt:
    options = abi.Opt()
    poison(options)
    device.ioctl(device.fd, abi.GET_OPTIONS, options)
    device.rules.options(options)
    return options


def _set_options(device: Device, wanted: Mapping[str, int | str]) -> None:
    options = _options(device)
    before = {name: getattr(options, name) for name in OPT}
    for name, value in wanted.items():
        setattr(options, name, int(value))
    device.options_in_flux()
    try:
        device.ioctl(device.fd, abi.SET_OPTIONS, options)
    except OSError:
        device.use(before)
        raise
    device.use({name: getattr(options, name) for name in OPT})


def _prealloc(device: Device, size: int, count: int, clustered: bool) -> dict[str, Any]:
    """Give buffers to the kernel to keep, before any command needs them."""
    handles: list[int] = []
    for _ in range(count):
        request = abi.PreallocBuffer()
        address = device.memory.take(size, device)
        setattr(request, "in", abi.PreallocBufferIn(address, size, clustered))
        try:
            device.ioctl(device.fd, abi.PREALLOC_BUFFER, request)
        except OSError:
            device.memory.abandon(address)
            raise
        device.rules.preallocated(request.out.cmd_h, address)
        handles.append(request.out.cmd_h)
    return {"handles": handles}


def start(server: Server, specs: Iterable[DeviceSpec]) -> None:
    """Serve devices.

    Raises SystemExit with one line that names the reason when one cannot be served.
    """
    try:
        for spec in specs:
            server.serve(spec)
    except (RegistrationError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


