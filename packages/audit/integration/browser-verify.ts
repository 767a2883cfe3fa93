/** What a customer's page does with exports: it takes each as it arrives, with the browser's own SHA-256 and WebCrypto. */
import { parseVerifierKey, verifyExport } from '../src/verify/index.ts';
import type { BrowserCase } from './browser.integration.test.ts';

/** The reports of all cases. */
export default async function run(): Promise<unknown[]> {
  const cases = (await (await fetch('/cases.json')).json()) as BrowserCase[];
  const reports: unknown[] = [];
  for (const { path, expectedHead, keptNotes, trust } of cases) {
    const { body } = await fetch(path);
    if (body === null) throw new Error(`${path} has no body`);
    reports.push(
      await verifyExport(body, {
        ...(expectedHead === undefined ? {} : { expectedHead }),
        ...(trust === undefined
          ? {}
          : {
              trust: { origin: trust.origin, keys: trust.keys.map(parseVerifierKey) },
              keptNotes: keptNotes ?? [],
            }),
      }),
    );
  }
  return reports;
}
