/**
 * The answer a decision is owed, written down a second time: a matrix that asked the guard's own code could not find a
 * fault in it.
 */
import type { Decision } from '../decision-types.ts';

/** The expected outcome as a word: `passed`, or status and kind of problem. */
export function expectedRefusal({ effect }: Decision, hidden: boolean): string {
  switch (effect) {
    case 'allow':
      return 'passed';
    case 'step_up':
      return '401 step_up_required';
    case 'needs_approval':
      return '403 approval_required';
    case 'deny':
      return hidden ? '404 not_found' : '403 denied';
  }
}
