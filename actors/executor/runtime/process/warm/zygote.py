"""
A Python process that has imported everything a task needs and is forked once per container, so that a container starts in
the time of a fork instead of the time of the imports. zygote.ts starts it and talks to it; it is the parent of all it forks.

    zygote.py CONFIG PADDING     CONFIG: JSON {script, profile}; descriptor 3: the channel, one JSON object per line

Life: it warms up (imports what the profile names), tells `ready` or `unfit`, then serves. When the channel closes, its server
is gone and it leaves at once; what it has forked and what was told to go lives on (sessions of their own, no death signal).

    → {start: id, runDir, workDir, command, env, label}    ← {born: id, pid} | {cold: id, reason} | {stale: what, cold: id}
    → {go: id} | {drop: id}
    → {retire: true}                                       ← {gone: pid, code}

Every start forks twice. The first child is the shim: the same files and the same protocol as shim.ts, which says what they
mean. The second is the payload, which turns itself into what the console script would be in a fresh interpreter.

It is fit only while a fork cannot differ from a fresh start: one thread, no descriptors of its own. Threads and event loops
that modules make when they are imported are held back here and brought to life in the payload. A container is refused
(`cold`) when a variable that was read during the warm-up, or that interpreter or C libraries read, has another value in it
than here. When a file of the warm modules or a directory they were found in changes, the zygote is `stale`: it refuses
everything from then on. What stays different: payloads of one zygote share the seed of hash(), and one frame of this file
lies under the script's.
"""

import asyncio
import atexit
import builtins
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import types

CHANNEL = 3
UID_VARIABLE = b"STARLING_POD_UID="
# Read by the interpreter at its start or by C and Rust code, where no read can be seen.
ALWAYS_COMPARED = {"LANG", "LANGUAGE", "HOME", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "TZDIR", "SSLKEYLOGFILE"}
COMPARED_PREFIXES = ("PYTHON", "LC_", "LD_", "MALLOC_", "OPENSSL_", "RUST_", "ASAN_", "__PYVENV")
# How long a look at all files of the warm modules is good for; the directories are looked at for every container.
LOOK_AGAIN_SECONDS = 1.0


class RecordedEnviron(type(os.environ)):
    """os.environ while modules are imported: knows what was read, and by which module."""

    reads = set()

    def __getitem__(self, name):
        self.reads.add((name, self._reader()))
        return super().__getitem__(name)

    @staticmethod
    def _reader():
        frame = sys._getframe(2)
        while frame and frame.f_globals.get("__name__") in ("os", "_collections_abc"):
            frame = frame.f_back
        return frame.f_globals.get("__name__", "") if frame else ""


class HeldBack:
    """Event loops and threads that importing has made: unborn here, alive in the payload."""

    def __init__(self):
        self.loops = []
        self.threads = []

    def __enter__(self):
        self._start = threading.Thread.start
        self._new_event_loop = asyncio.new_event_loop
        held = self

        def start(thread):
            # Python declares every thread it knows dead after a fork.
            threading._dangling.discard(thread)
            held.threads.append(thread)

        def new_event_loop():
            loop = object.__new__(asyncio.SelectorEventLoop)
            held.loops.append(loop)
            return loop

        threading.Thread.start = start
        asyncio.new_event_loop = new_event_loop
        return self

    def __exit__(self, *_):
        threading.Thread.start = self._start
        asyncio.new_event_loop = self._new_event_loop

    def release(self):
        for loop in self.loops:
            loop.__init__()
        for thread in self.threads:
            name, daemon = thread.name, thread.daemon
            target, args, kwargs = thread._target, thread._args, thread._kwargs
            threading.Thread.__init__(thread, target=target, name=name, args=args, kwargs=kwargs, daemon=daemon)
            thread.start()


class Originals:
    """Files and directories the warm modules came from, as they were."""

    def __init__(self, watched):
        self.directories = {path: self._directory(path) for path in (*sys.path, *watched)}
        self.files = {}
        self.looked_at = 0.0

    @staticmethod
    def _status(path):
        try:
            status = os.stat(path)
            return status.st_mtime_ns, status.st_size, status.st_ino
        except OSError:
            return None

    def _directory(self, path):
        """Status and names. Where bytecode is kept is no change: importing makes it."""
        status = self._status(path)
        try:
            return status, frozenset(os.listdir(path)) - {"__pycache__"}
        except OSError:
            return status, None

    def add_files(self, script):
        # Not getattr: a module that is imported on use must not be used by a look at it.
        files = [object.__getattribute__(module, "__dict__").get("__file__") for module in list(sys.modules.values())]
        files = {script, sys.executable, sys.prefix + "/pyvenv.cfg", *(file for file in files if isinstance(file, str))}
        self.files = {path: self._status(path) for path in files}

    def changed(self):
        """The first path that is not as it was, or None."""
        for path, (status, names) in self.directories.items():
            if self._status(path) != status:
                now = self._directory(path)
                if now[1] is None or now[1] != names:
                    return path
                self.directories[path] = now
        now = time.monotonic()
        if now - self.looked_at > LOOK_AGAIN_SECONDS:
            self.looked_at = now
            return next((path for path, status in self.files.items() if self._status(path) != status), None)
        return None


class Memory:
    """Where the kernel finds command line and environment of this process for /proc; both are written over in place."""

    def __init__(self):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        self.command_start, self.command_end, environ_start, environ_end = map(int, fields[45:49])
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(environ_start)
            environ = memory.read(environ_end - environ_start)
        self.environ = dict(
            pair.decode(errors="surrogateescape").split("=", 1) for pair in environ.split(b"\0") if b"=" in pair
        )
        at = environ.index(UID_VARIABLE) + len(UID_VARIABLE)
        self.uid_start = environ_start + at
        self.uid_bytes = environ.index(b"\0", at) - at
        self._write(self.uid_start, environ[at : at + self.uid_bytes])  # fails where it is forbidden

    @staticmethod
    def _write(start, content):
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(content)

    def write_uid(self, uid):
        self._write(self.uid_start, uid.ljust(self.uid_bytes, b"\0"))

    def write_command(self, words, name):
        room = self.command_end - self.command_start
        line = b"".join(word + b"\0" for word in words)[: room - 1]
        self._write(self.command_start, line.ljust(room, b"\0"))
        with open("/proc/self/comm", "wb") as file:
            file.write(name)


def exit_code(status):
    """As shells count: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def descriptors():
    return set(os.listdir("/proc/self/fd"))


class Unfit(Exception):
    pass


class Zygote:
    def __init__(self, script, profile_path):
        self.script = script
        self.profile = types.ModuleType("profile")
        with open(profile_path, encoding="utf-8") as file:
            exec(compile(file.read(), profile_path, "exec"), self.profile.__dict__)
        self.memory = Memory()
        self.held = HeldBack()
        self.starts = {}  # id → (our end of the pair, pid) of shims that have not been told to go
        self.children = set()
        self.retiring = False
        self.stale = None

    def warm_up(self):
        # Before anything is imported: what changes from here on is noticed.
        self.originals = Originals(self.profile.watched())
        before = descriptors()
        os.environ.__class__ = RecordedEnviron
        gc.disable()
        with open(self.script, encoding="utf-8") as file:
            self.code = compile(file.read(), self.script, "exec", dont_inherit=True)
        with self.held:
            self.profile.prepare()
            for name in self.profile.REQUIRED:
                importlib.import_module(name)
            for name in self.profile.WELCOME:
                try:
                    importlib.import_module(name)
                except ImportError:
                    pass
        os.environ.__class__ = RecordedEnviron.__base__
        self.originals.add_files(self.script)
        self.compared = {
            name
            for name, reader in RecordedEnviron.reads
            if name not in self.profile.REAPPLIED and not self.profile.irrelevant(reader, name)
        }
        # The channel may have been read from by nobody yet, so the only descriptor that may be new is none.
        new = descriptors() - before
        if new:
            raise Unfit(f"importing has opened {len(new)} descriptors")
        self.check_threads()
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()

    def check_threads(self):
        threads = os.listdir("/proc/self/task")
        if len(threads) != 1:
            names = [open(f"/proc/self/task/{thread}/comm").read().strip() for thread in threads]
            raise Unfit(f"importing has started threads: {', '.join(names)}")

    def reason_against(self, env, uid):
        """Why a container with this environment must start cold, or None."""
        if len(uid) > self.memory.uid_bytes:
            return "the pod's uid is too long"
        warm = self.memory.environ
        reason = self.profile.reason_against(env, warm)
        if reason:
            return reason
        names = set(self.compared)
        for name in {*env, *warm}:
            if name in ALWAYS_COMPARED or name.startswith(COMPARED_PREFIXES):
                names.add(name)
        for name in sorted(names):
            if env.get(name) != warm.get(name):
                return f"{name} differs from the warm process"
        return None

    def say(self, message):
        try:
            self.channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(0)  # the server is gone

    def serve(self):
        """Serves until the channel closes. Returns only in a payload, with its launch."""
        self.channel = socket.socket(fileno=CHANNEL)
        try:
            self.warm_up()
        except Exception as error:
            self.say({"unfit": str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"})
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        self.wake, self.waker = socket.socketpair()
        self.waker.setblocking(False)
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.say({"ready": True, "modules": len(sys.modules), "compared": sorted(self.compared)})
        pending = b""
        while True:
            poll = select.poll()
            poll.register(self.channel, select.POLLIN)
            poll.register(self.wake, select.POLLIN)
            born = {}
            for id, (ours, pid, told) in self.starts.items():
                if not told:
                    poll.register(ours, select.POLLIN)
                    born[ours.fileno()] = id
            ready = {descriptor for descriptor, _ in poll.poll()}
            for descriptor in ready & born.keys():
                self.tell_birth(born[descriptor])
            if self.wake.fileno() in ready:
                self.wake.recv(4096)
                self.reap()
            if self.channel.fileno() in ready:
                received = self.channel.recv(1 << 16)
                if not received:
                    os._exit(0)
                *lines, pending = (pending + received).split(b"\n")
                for line in lines:
                    launch = self.answer(json.loads(line))
                    if launch:
                        return launch

    def tell_birth(self, id):
        ours, pid, _ = self.starts[id]
        if ours.recv(1) == b"b":
            self.starts[id] = (ours, pid, True)
            self.say({"born": id, "pid": pid})
        else:
            del self.starts[id]
            ours.close()
            self.say({"cold": id, "reason": "the shim died at its birth"})

    def reap(self):
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.children.discard(pid)
            self.say({"gone": pid, "code": exit_code(status)})
        if self.retiring:
            os._exit(0)

    def answer(self, message):
        if "start" in message:
            return self.start(message)
        if "retire" in message:
            self.retiring = True
            if not self.children:
                os._exit(0)
            return None
        ours, _, _ = self.starts.pop(message.get("go", message.get("drop")), (None, None, None))
        if ours:
            if "go" in message:
                try:
                    ours.send(b"g")
                except OSError:
                    pass  # it was killed while it waited; its end is told by reap
            ours.close()  # without the word before, the shim leaves
        return None

    def start(self, launch):
        id = launch["start"]
        env = launch["env"]
        try:
            self.stale = self.stale or self.originals.changed()
            if self.stale:
                self.say({"cold": id, "reason": f"{self.stale} has changed", "stale": self.stale})
                return None
            self.check_threads()
            reason = self.reason_against(env, env.get("STARLING_POD_UID", "").encode())
            if reason:
                self.say({"cold": id, "reason": reason})
                return None
            ours, theirs = socket.socketpair()
            pid = os.fork()
        except (OSError, Unfit) as error:
            self.say({"cold": id, "reason": str(error)})
            return None
        if pid:
            theirs.close()
            self.children.add(pid)
            self.starts[id] = (ours, pid, False)
            return None
        try:
            ours.close()
            self.let_go()
            be_shim(launch, theirs, self.memory)
        except BaseException:
            os._exit(75)  # nothing of the payload has run
        return launch

    def let_go(self):
        """In a child: gives up everything that belongs to the zygote. Python objects are closed, so none closes a number
        again that means something else by then."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for owned in (self.channel, self.wake, self.waker, *(ours for ours, _, _ in self.starts.values())):
            owned.close()
        self.starts.clear()


SHIM_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


def be_shim(launch, control, memory):
    """The part of shim.ts, step for step. Returns only in the payload."""
    os.setsid()
    for number in SHIM_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(launch["runDir"])
    memory.write_uid(launch["env"].get("STARLING_POD_UID", "").encode())
    memory.write_command([word.encode() for word in (launch["label"], *launch["command"])], b"starling-shim")
    control.send(b"b")
    if control.recv(1) != b"g":
        os._exit(75)
    control.close()
    os.close(os.open("started", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    # A signal for the payload that comes before it has its own handlers back waits until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, SHIM_SIGNALS)
    try:
        payload = os.fork()
    except OSError:
        os._exit(2)
    if payload == 0:
        return
    code = 255
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SHIM_SIGNALS)
        _, status = os.waitpid(payload, 0)
        code = exit_code(status)
        file = os.open("exit", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
        os.write(file, b"%d\n" % code)
        os.close(file)
        os.kill(0, signal.SIGKILL)
    finally:
        os._exit(code)


def take_place(launch):
    """In the payload: output, signals and directory as the shim gives them to a program, before that is started."""
    for number in SHIM_SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        log = os.open("../log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        old = os.getcwd()
        os.chdir(launch["workDir"])
    except OSError as error:
        os.write(2, f"{launch['label']}: {error}\n".encode(errors="replace"))
        os._exit(2)
    # The shell of a cold shim exports both when it changes the directory.
    launch["env"].update(OLDPWD=old, PWD=os.path.normpath(launch["workDir"]))


def become(launch, zygote):
    """In the payload: makes this interpreter what a fresh one would be that was started with the console script."""
    words = [word.encode() for word in launch["command"]]
    zygote.memory.write_command([os.fsencode(sys.executable), *words], os.path.basename(words[0])[:15])
    env = launch["env"]
    if "LC_CTYPE" in os.environ:
        env.setdefault("LC_CTYPE", os.environ["LC_CTYPE"])  # by the interpreter itself, in the C locale (PEP 538)
    for name in list(os.environb):
        del os.environb[name]
    for name, value in env.items():
        os.environb[name.encode()] = value.encode()
    time.tzset()
    sys.argv[:] = [os.fsdecode(word) for word in words]
    sys.orig_argv[:] = [sys.executable, *sys.argv]
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing:
        multiprocessing.current_process().authkey = os.urandom(32)
    logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
    zygote.profile.reapply()
    zygote.held.release()
    gc.enable()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHIM_SIGNALS)


def start_cold(launch):
    """The way out when becoming fails: this very process is started afresh; the script has not run."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHIM_SIGNALS)
    env = {name.encode(): value.encode() for name, value in launch["env"].items()}
    os.execve(launch["command"][0], [word.encode() for word in launch["command"]], env)


def main_module(script):
    """`__main__` as the interpreter sets it up for a script."""
    module = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", script)
    module.__dict__.update(__file__=script, __cached__=None, __loader__=loader, __builtins__=builtins)
    if sys.version_info < (3, 14):
        module.__dict__["__annotations__"] = {}
    return module


def flush():
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except Exception:
            pass  # as the interpreter


def interrupt_at_the_end():
    """Registered before all others, so it runs last: a program that Ctrl-C has ended dies by that signal."""
    if interrupted:
        flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


interrupted = False
atexit.register(interrupt_at_the_end)
config = json.loads(sys.argv[1])
main = main_module(config["script"])
sys.modules["__main__"] = main
sys.argv[:] = [config["script"]]
sys.path[0] = os.path.dirname(os.path.realpath(config["script"]))
zygote = Zygote(config["script"], config["profile"])
launch = zygote.serve()

take_place(launch)
try:
    become(launch, zygote)
except BaseException:
    start_cold(launch)
# The frame of this file is taken out of the traces of what comes up.
code = 0
try:
    exec(zygote.code, main.__dict__)
except SystemExit as error:
    error.__traceback__ = error.__traceback__.tb_next
    code = error.code
except BaseException as error:
    interrupted = isinstance(error, KeyboardInterrupt)
    error.__traceback__ = error.__traceback__.tb_next
    flush()
    sys.excepthook(type(error), error, error.__traceback__)
    code = 1
sys.exit(code)
