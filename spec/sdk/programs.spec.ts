import path from 'node:path';
import { expect } from 'chai';
import { runProgram } from '../support/flyte.ts';
import { type Server, startServer } from '../support/server.ts';

/** Programs as users of the SDK and its command line write them, against one server; what each checks it says when it fails. */
describe('the SDK', () => {
  let server: Server;
  before(async () => {
    server = await startServer({ env: { STARLING_EXECUTOR_SLOTS: '16' } });
  });
  after(() => server.stop());

  const run = (program: string, ...checks: string[]) =>
    runProgram(path.join(import.meta.dirname, 'programs', `${program}.py`), checks, server);
  const holds = (program: string, checks: Readonly<Record<string, string>>) =>
    describe(program.replace('_', ' '), () => {
      for (const [check, rule] of Object.entries(checks)) {
        it(rule, async () => {
          expect(await run(program, check).done()).to.include(`ok ${check} `);
        });
      }
    });

  holds('failures', {
    in_the_parent: 'of children of every sort reach their parent with class, code and words',
    with_more_memory: 'out of memory is an OOMError, and the call with more memory goes well',
    of_the_run: 'are raised for the caller of the run, long messages cut',
    of_traces: 'of traces are recorded and stay catchable',
  });
  holds('many', {
    mixed: 'two hundred children of all sorts at once answer in order',
    nested_maps: 'a map of maps',
    a_map_left_early: 'a map that ends with its first error aborts the others',
    a_map_broken_off: 'a map that is broken off aborts a hundred sleepers',
    large_lists: 'a list of thirty thousand passes between tasks',
    the_same_call_often: 'equal calls are actions of their own',
  });
  holds('values', {
    in_any_script: 'texts, names and variables in any script',
    numbers_and_times: 'extreme numbers and times',
    near_the_inline_limit: 'just below ten mebibytes inline',
    tens_of_megabytes: 'files, folders and frames of forty megabytes',
    a_file_of_the_client: 'a file of the client with an odd name',
  });
  holds('command_line', {
    follow_through_silence: 'following and reading a log survive forty seconds of silence',
    long_logs: 'each line of a long log once and in order',
    deployed: 'deploying twice, running a deployed task, running it again',
    abort: 'aborting with a reason, again, and what is not there',
    import_error: 'a module that does not load shows its traceback',
    nonsense: 'mistakes are answered in a sentence',
    from_an_active_environment: 'from an active virtual environment with a configuration file',
  });
  holds('containers', {
    files_in_and_out: 'values and files go into a raw container and come out of it',
    failures: 'a raw container that fails says why',
    by_itself: 'a raw container is the root of a run',
  });
  holds('sessions', {
    context_and_overrides: 'context, variables and overrides reach the children',
    pickled: 'functions of an interactive session run, and their children',
    reports: 'a report is the last of its stages, however large',
    checkpoints_after_crashes: 'a checkpoint outlives a crash',
    names: 'generated names differ, a name that is taken is refused',
    local_first: 'the same program runs with a server and without',
    many_runs_of_one_process: 'twelve runs started at once by one process',
    other_code_next_day: 'code that changed is run as it is now',
  });

  it('serves several client processes at once', async () => {
    const programs = [
      run('many', 'the_same_call_often'),
      run('many', 'the_same_call_often'),
      run('sessions', 'many_runs_of_one_process'),
      run('failures', 'of_traces'),
    ];
    await Promise.all(programs.map(program => program.done()));
  });
});
