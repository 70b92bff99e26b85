"""tidepool for Python, by ctypes: a runtime whose handlers are called with JSON.

Take this file as it is; it needs Python 3.7 and an installed libtidepool.so.  A runtime
belongs to the thread that opened it.  What each call does is said in tidepool.h.
"""

import ctypes
import ctypes.util
import json
import os
import select
import time

OK = 0
ABI = 1

_WRITE_LOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("abi", ctypes.c_uint32),
        ("uv_loop", ctypes.c_void_p),
        ("write_log", _WRITE_LOG),
        ("ud", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("allocate_ud", ctypes.c_void_p),
        ("max_posts", ctypes.c_uint),
    ]


class _Request(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("payload", ctypes.c_char_p),
        ("len", ctypes.c_size_t),
        ("timeout_ms", ctypes.c_uint64),
        ("ud", ctypes.c_void_p),
        ("free_ud", ctypes.c_void_p),
    ]


class _Reply(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_int),
        ("error", ctypes.c_char_p),
        ("payload", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
    ]


_ON_REPLY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Reply))


def _load_library():
    name = os.environ.get("TIDEPOOL_LIBRARY") or ctypes.util.find_library("tidepool")
    lib = ctypes.CDLL(name or "libtidepool.so.0")
    runtime, text = ctypes.c_void_p, ctypes.c_char_p
    u64 = ctypes.c_uint64
    for function, result, *arguments in (
        ("tide_abi_version", ctypes.c_int),
        ("tide_error_name", text, ctypes.c_int),
        ("tide_error_text", text, ctypes.c_int),
        ("tide_options_init_sized", None, ctypes.POINTER(_Options), ctypes.c_size_t,
         ctypes.c_uint32),
        ("tide_open", ctypes.c_int, ctypes.POINTER(runtime), ctypes.POINTER(_Options)),
        ("tide_last_error", text, runtime),
        ("tide_set", ctypes.c_int, runtime, text, text),
        ("tide_load", ctypes.c_int, runtime, text, text),
        ("tide_reload", ctypes.c_int, runtime, text),
        ("tide_request_init_sized", None, ctypes.POINTER(_Request), ctypes.c_size_t),
        ("tide_call", ctypes.c_int, runtime, ctypes.POINTER(_Request), _ON_REPLY,
         ctypes.POINTER(u64)),
        ("tide_cancel", ctypes.c_int, runtime, u64),
        ("tide_poll_fd", ctypes.c_int, runtime),
        ("tide_next_timeout_ms", ctypes.c_int, runtime),
        ("tide_step", ctypes.c_int, runtime, u64, ctypes.c_void_p),
        ("tide_drain", ctypes.c_int, runtime, u64),
        ("tide_close", ctypes.c_int, runtime),
    ):
        entry = getattr(lib, function)
        entry.restype, entry.argtypes = result, arguments
    if lib.tide_abi_version() != ABI:
        raise ImportError("%s has ABI %d, this file %d"
                          % (name, lib.tide_abi_version(), ABI))
    return lib


_lib = _load_library()


class Error(Exception):
    """What went wrong; name is what scripts have in err.code, as "timeout"."""

    def __init__(self, code, text=b""):
        super().__init__((text or _lib.tide_error_text(code)).decode())
        self.code = code
        self.name = _lib.tide_error_name(code).decode()


class Call:
    """One call of a handler: done, then result() gives the reply or raises."""

    def __init__(self):
        self.id = ctypes.c_uint64()
        self.done = False
        self._bytes = None
        self._error = None

    def _end(self, reply):
        self.done = True
        if reply.code == OK:
            self._bytes = ctypes.string_at(reply.payload, reply.len)
        else:
            self._error = Error(reply.code, reply.error)

    def raw(self):
        """The bytes of the reply."""
        if not self.done:
            raise RuntimeError("the call has not ended")
        if self._error:
            raise self._error
        return self._bytes

    def result(self):
        """What the handler returned, by JSON; None for nil."""
        data = self.raw()
        return json.loads(data) if data else None


class Runtime:
    """with Runtime("app.lua", {"redis.url": url}) as rt: rt.ask("handler", value)"""

    def __init__(self, script, settings=None, log=None):
        self._calls = {}  # number, the ud of its request -> Call
        self._number = 0
        self._runtime = ctypes.c_void_p()
        # Kept, for C has their addresses.
        self._on_reply = _ON_REPLY(self._take_reply)
        self._write_log = _WRITE_LOG(
            lambda _, line, size: log(ctypes.string_at(line, size).decode("utf-8", "replace")))
        options = _Options()
        _lib.tide_options_init_sized(options, ctypes.sizeof(options), ABI)
        if log:
            options.write_log = self._write_log
        code = _lib.tide_open(self._runtime, options)
        if code != OK:
            raise Error(code)
        try:
            for key, value in (settings or {}).items():
                self._check(_lib.tide_set(self._runtime, key.encode(), str(value).encode()))
            self._check(_lib.tide_load(self._runtime, os.fsencode(script), None))
            self._poll = select.poll()
            self._poll.register(_lib.tide_poll_fd(self._runtime), select.POLLIN)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()

    def close(self):
        """Cancels what runs; those calls then have an Error "cancelled"."""
        runtime, self._runtime = self._runtime, ctypes.c_void_p()
        code = _lib.tide_close(runtime)
        if code != OK:
            self._runtime = runtime
            raise Error(code)

    def _check(self, code):
        if code != OK:
            raise Error(code, _lib.tide_last_error(self._runtime))

    def _take_reply(self, number, reply):
        self._calls.pop(number)._end(reply.contents)

    def call(self, name, value=None, timeout=0):
        """Begins a call with value as JSON, or bytes as they are; seconds, 0: no end."""
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        call = Call()
        request = _Request()
        _lib.tide_request_init_sized(request, ctypes.sizeof(request))
        request.name = name.encode()
        request.payload, request.len = payload, len(payload)
        request.timeout_ms = int(timeout * 1000)
        self._number += 1
        request.ud = self._number
        self._check(_lib.tide_call(self._runtime, request, self._on_reply, call.id))
        self._calls[self._number] = call
        return call

    def cancel(self, call):
        self._check(_lib.tide_cancel(self._runtime, call.id))

    def fileno(self):
        """For select() and event loops: readable when step() has something to do."""
        return _lib.tide_poll_fd(self._runtime)

    def next_timeout(self):
        """In how many seconds step() is due at the latest, or None."""
        ms = _lib.tide_next_timeout_ms(self._runtime)
        return ms / 1000 if ms >= 0 else None

    def step(self, budget=0.01):
        """Does what is ready, for about so many seconds; never waits."""
        self._check(_lib.tide_step(self._runtime, int(budget * 1e9), None))

    def wait(self, calls, timeout=30):
        """Steps until all these calls are done; TimeoutError after so many seconds."""
        end = time.monotonic() + timeout
        while not all(call.done for call in calls):
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("the handler has not answered")
            due = self.next_timeout()
            self._poll.poll(1000 * (left if due is None else min(left, due)))
            self.step()

    def ask(self, name, value=None, timeout=30):
        """Calls a handler, waits for its reply and gives it."""
        call = self.call(name, value, timeout)
        self.wait([call], timeout + 1)
        return call.result()

    def reload(self):
        self._check(_lib.tide_reload(self._runtime, None))

    def drain(self, seconds):
        """Takes no more calls, waits for those that run."""
        self._check(_lib.tide_drain(self._runtime, int(seconds * 1000)))
