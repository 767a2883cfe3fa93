/** The suite of this package. */
import type { Suite } from '../../../tools/bench/suite.ts';
import { suite as append } from './append.ts';
import { proofCases } from './proof.ts';
import { queryCases } from './query.ts';
import { verifyCases } from './verify.ts';

/** Appending, reading in pages, verifying, proving. */
export const suite: Suite = {
  name: append.name,
  cases: [...append.cases, ...queryCases, ...verifyCases, ...proofCases],
};
