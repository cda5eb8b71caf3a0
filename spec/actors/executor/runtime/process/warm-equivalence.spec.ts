import path from 'node:path';
import type { V1Container } from '@kubernetes/client-node';
import { expect } from 'chai';
import { aPod, isAlive, PodBench, until } from './pod-bench.ts';
import { task, WarmBench } from './warm-bench.ts';

/** What a task may see or do, and must see or do alike whether it was started cold or warm. */
const cases: Record<string, string> = {
  'ends well': "print('out'); import sys; print('err', file=sys.stderr)",
  'raises, with its traceback': 'def inner():\n  raise ValueError("no")\ninner()',
  'fails to import': 'import no_such_module',
  'exits with a code': 'import sys; sys.exit(3)',
  'exits with a message': "import sys; sys.exit('a message')",
  'leaves by os._exit, losing its output': "import os; print('lost'); os._exit(4)",
  'dies of a segmentation fault': 'import ctypes; ctypes.string_at(0)',
  'dies of a segmentation fault with a fault handler':
    'import ctypes, faulthandler, re; faulthandler.enable(all_threads=False); ctypes.string_at(0)',
  'is interrupted': "import os, signal; print('in'); os.kill(os.getpid(), signal.SIGINT)",
  'is terminated': 'import os, signal; os.kill(os.getpid(), signal.SIGTERM)',
  'is killed': 'import os, signal; os.kill(os.getpid(), signal.SIGKILL)',
  'kills its group': 'import os, signal; os.kill(0, signal.SIGKILL)',
  aborts: 'import os; os.abort()',
  'waits for its threads and runs its exit handlers':
    "import atexit, threading, time; atexit.register(print, 'exit'); threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start(); print('main')",
  'uses what was made at the import':
    'async def name():\n  import threading\n  return threading.current_thread().name\nprint(background.call(name()), background.thread.is_alive(), LEVEL)',
  'looks at its arguments': 'import sys; print(sys.argv, sys.orig_argv, sys.executable, sys.path, sys.flags)',
  'looks at __main__':
    "import sys; m = sys.modules['__main__']; print(sorted((k, str(v)) for k, v in vars(m).items() if k != '__loader__'), m.__loader__.name, m.__loader__.path)",
  'looks at its environment': 'import os; print(sorted((k, v) for k, v in os.environ.items()))',
  'hands on its environment':
    "import os, subprocess; print(sorted(subprocess.run(['env', '-u', '_'], stdout=-1, text=True).stdout.splitlines()))\nimport ctypes; l = ctypes.CDLL(None); l.getenv.restype = ctypes.c_char_p; print(l.getenv(b'GIVEN'), l.getenv(b'STARLING_POD_UID'))",
  'looks at its directory': 'import os; print(os.getcwd(), os.path.realpath("."))',
  'looks at signals':
    'import signal; print([(s.name, signal.getsignal(s)) for s in signal.valid_signals() if isinstance(s, signal.Signals) and signal.getsignal(s) != 0 and s.name != "SIGINT"], signal.getsignal(2) is signal.default_int_handler, signal.pthread_sigmask(0, []), signal.set_wakeup_fd(-1))',
  'looks at descriptors':
    "import os; print(sorted((fd, os.readlink('/proc/self/fd/' + fd)) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd) and 'socket' not in os.readlink('/proc/self/fd/' + fd) and 'anon' not in os.readlink('/proc/self/fd/' + fd)))\nimport sys; print(sys.stdout, sys.stderr, sys.stdin.read(), sys.stdout.line_buffering, sys.stderr.line_buffering, os.get_blocking(1))",
  'looks at its process':
    'import os; mask = os.umask(0); print(os.getpgid(0) == os.getsid(0) == os.getppid(), mask, os.nice(0), open("/proc/self/comm").read(), open("/proc/self/cmdline").read().strip(chr(0)).split(chr(0)))',
  'looks at the interpreter':
    'import gc, locale, sys, threading, time; print(gc.isenabled(), gc.get_threshold(), locale.setlocale(locale.LC_ALL), time.tzname, sys.getrecursionlimit(), threading.main_thread().name, threading.active_count(), sys.getfilesystemencoding(), sys.warnoptions, threading.get_native_id() == __import__("os").getpid())',
  'starts processes of its own by multiprocessing':
    'import multiprocessing as m, operator\nfor way in ("fork", "spawn", "forkserver"):\n  p = m.get_context(way).Process(target=print, args=(way,)); p.start(); p.join(); print(p.exitcode, flush=True)',
  'runs subprocesses and sees how they end':
    "import subprocess; print([subprocess.run(['sh', '-c', c]).returncode for c in ('exit 5', 'kill -9 $$$$')])",
  'logs times since its start': 'import logging; r = logging.makeLogRecord({}); print(0 <= r.relativeCreated < 5000)',
};

describe('warm and cold starts of a console script', () => {
  if (process.platform !== 'linux') return;
  let python: WarmBench;
  let cold: PodBench;
  let warm: PodBench;
  before(async () => {
    python = await WarmBench.open();
    python.warm.begin();
    cold = await PodBench.open({ binDirs: [python.binDir] });
    warm = await PodBench.open({ binDirs: [python.binDir], warm: python.warm });
    await python.untilWarm();
  });
  after(async () => {
    await cold.close();
    await warm.close();
    await python.close();
  });

  const env = [
    { name: 'GIVEN', value: 'a value, with = and é' },
    { name: 'PROBE_LEVEL', value: 'high' },
    { name: 'TZ', value: 'Asia/Tokyo' },
  ];
  const outcome = async (bench: PodBench, name: string, container: V1Container) => {
    const pod = await bench.run(aPod(name, [container]));
    const { exitCode, signal, reason, message } = pod.status!.containerStatuses![0]!.state!.terminated!;
    const known = (lines: string[]) =>
      lines
        .filter(line => !line.includes('/zygote.py"')) // dumps of the whole stack show one frame more
        .join('\n')
        .replaceAll(path.dirname(bench.dir), '<dir>')
        .replaceAll(pod.metadata!.uid!, '<uid>')
        .replace(/0x[0-9a-f]{6,}/g, '<address>');
    const log = known(await bench.lines(name));
    return { exitCode, signal, reason, message: message && known(message.split('\n')), log };
  };

  for (const [title, code] of Object.entries(cases)) {
    it(`are alike for one that ${title}`, async () => {
      const before = python.warm.starts.warm;
      const name = title.replaceAll(/[^a-z]+/g, '-').replace(/-$/, '');
      const container = task(code, { env, terminationMessagePolicy: 'FallbackToLogsOnError' });
      const [asCold, asWarm] = await Promise.all([outcome(cold, name, container), outcome(warm, name, container)]);
      expect(python.warm.starts.warm, 'it was started warm').to.equal(before + 1);
      expect(asWarm.log).to.equal(asCold.log);
      expect(asWarm).to.deep.equal(asCold);
    });
  }

  it('differ in what is random', async () => {
    const code =
      'import multiprocessing.process as m, random, tempfile, uuid; print(random.random(), next(tempfile._get_candidate_names()), uuid.uuid4(), m.current_process().authkey.hex())';
    await warm.run(aPod('r1', [task(code)]));
    await warm.run(aPod('r2', [task(code)]));
    const [one, two] = [(await warm.lines('r1'))[0]!.split(' '), (await warm.lines('r2'))[0]!.split(' ')];
    for (const [index, value] of one.entries()) expect(value).to.not.equal(two[index]);
  });

  it('are both ended with SIGTERM, also when it comes at the first moment', async () => {
    const before = python.warm.starts.warm;
    for (let round = 0; round < 10; round += 1) {
      const name = `term-${round}`;
      await warm.runtime.create(aPod(name, [task('import time; time.sleep(60)')]));
      await warm.untilRunning(name);
      await warm.runtime.delete(name, { gracePeriodSeconds: 60 });
      await warm.untilGone(name);
    }
    expect(python.warm.starts.warm).to.equal(before + 10);
  });

  it('are both ended together with their grandchildren and daemons, also those that never start a program', async () => {
    const code = `
import os, subprocess, time
subprocess.Popen(['sleep', '60'])
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(60)
print(os.getpid(), flush=True)
time.sleep(60)`;
    for (const bench of [cold, warm]) {
      await bench.runtime.create(aPod('daemons', [task(code)]));
      await until('both have told', async () => (await bench.lines('daemons')).length === 2);
      const pids = (await bench.lines('daemons')).map(Number);
      await bench.runtime.delete('daemons', { gracePeriodSeconds: 0 });
      await bench.untilGone('daemons');
      for (const pid of pids) expect(await isAlive(pid)).to.equal(false);
    }
  });

  it('are both ended for memory, where pages shared with the warm process count by their share', async () => {
    const hungry = { resources: { limits: { memory: '64Mi' } } };
    const pod = await warm.run(aPod('hungry', [task("x = b'1' * 200_000_000; import time; time.sleep(60)", hungry)]));
    expect(pod.status!.containerStatuses![0]!.state!.terminated).to.include({ exitCode: 137, reason: 'OOMKilled' });
  });

  const coldReasons: Record<string, Partial<V1Container>> = {
    'a variable of the interpreter': { env: [{ name: 'PYTHONHASHSEED', value: '0' }] },
    'a variable that was read at the import': { env: [{ name: 'PROBE_SIZE', value: '1' }] },
    'a variable that the profile names': { env: [{ name: 'PROBE_UNUSUAL', value: '1' }] },
    'another language': { env: [{ name: 'LC_ALL', value: 'C' }] },
    'another program': { args: ['python3', '-c', 'print(7)'] },
  };
  for (const [title, more] of Object.entries(coldReasons)) {
    it(`are cold for a container with ${title}`, async () => {
      const before = python.warm.starts.warm;
      const name = title.replaceAll(' ', '-');
      await warm.run(aPod(name, [task('print(7)', more)]));
      expect(await warm.lines(name)).to.deep.equal(['7']);
      expect(python.warm.starts.warm).to.equal(before);
    });
  }
});
