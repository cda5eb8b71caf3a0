// Prints the failures of a mocha JSON report and a last line `# passed failed skipped`; a report that is missing, or a
// run that ended badly without a failing spec (a leaked handle, a crash), counts as one failure. Exit code 1 if any.
import { readFileSync } from 'node:fs';

const [file, code] = process.argv.slice(2);
let stats = { passes: 0, failures: 0, pending: 0 };
try {
  const report = JSON.parse(readFileSync(file, 'utf8'));
  stats = report.stats;
  for (const { fullTitle, err } of report.failures) console.log(`FAILED: ${fullTitle}\n${err.stack ?? err.message}\n`);
} catch (error) {
  console.log(`FAILED: no report of the specs: ${error.message}`);
}
if (stats.failures === 0 && (code !== '0' || stats.passes === 0)) {
  console.log(`FAILED: the runner ended with code ${code} after ${stats.passes} passing specs`);
  stats.failures = 1;
}
console.log(`${stats.passes} passing, ${stats.failures} failing, ${stats.pending} skipped`);
console.log(`# ${stats.passes} ${stats.failures} ${stats.pending}`);
process.exit(stats.failures === 0 ? 0 : 1);
