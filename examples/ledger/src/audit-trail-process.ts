/**
 * A process of the audit trail: `node audit-trail-process.ts sign` signs every log, `… copy` copies what was signed. Run each
 * under a supervisor that starts it again, on different machines, with the settings of `audit-trail-settings.ts`.
 *
 * Stdout is one JSON object a line. Exit code 0 after SIGTERM or SIGINT, 2 when the settings are wrong. It may be killed at
 * any time.
 */
import { connectCopying, connectSigning } from './audit-trail.ts';
import { copyLogs, signLogs } from './audit-trail-duty.ts';
import { copyingSettings, signingSettings } from './audit-trail-settings.ts';
import type { Report } from './lag-watch.ts';

const [duty] = process.argv.slice(2);
const ending = new AbortController();
const { signal } = ending;
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort());

const report: Report = (line, values) => {
  process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), duty, line, ...values })}\n`);
};

try {
  if (duty === 'sign') {
    const { config, times } = signingSettings(process.env);
    const signing = connectSigning(config);
    report('started', {});
    await signLogs(signing, { ...times, report, signal });
    await signing.close();
  } else if (duty === 'copy') {
    const { config, times } = copyingSettings(process.env);
    const copying = connectCopying(config);
    report('started', { store: config.store.name });
    await copyLogs(copying, { ...times, report, signal });
    await copying.close();
  } else {
    throw new TypeError('the duty is sign or copy');
  }
  report('ended', {});
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`audit-trail: ${error.message}\n`);
  process.exitCode = 2;
}
