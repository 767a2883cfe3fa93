/** What a customer's page does with exports: it takes each as it arrives, with noble's SHA-256 and the browser's WebCrypto. */
import { parseVerifierKey, type VerifyExportOptions, verifyExport } from '../src/verify/index.ts';

/** An export and how it is verified, as the page is told. */
export interface BrowserCase {
  readonly path: string;
  readonly expectedHead?: { readonly seq: number; readonly hash: string };
  readonly trust?: { readonly origin: string; readonly keys: readonly string[] };
  readonly keptNotes?: readonly string[];
}

/** The options of a case, with its keys parsed. */
export function optionsOf({ expectedHead, trust, keptNotes = [] }: BrowserCase): VerifyExportOptions {
  return {
    ...(expectedHead && { expectedHead }),
    ...(trust && { trust: { origin: trust.origin, keys: trust.keys.map(parseVerifierKey) }, keptNotes }),
  };
}

/** The reports of all cases. */
export default async function run(): Promise<unknown[]> {
  const cases = (await (await fetch('/cases.json')).json()) as BrowserCase[];
  const reports: unknown[] = [];
  for (const one of cases) {
    const { body } = await fetch(one.path);
    if (body === null) throw new Error(`${one.path} has no body`);
    reports.push(await verifyExport(body, optionsOf(one)));
  }
  return reports;
}
