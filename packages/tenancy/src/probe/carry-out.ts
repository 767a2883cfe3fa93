/**
 * Carries out attacks and judges what came of them. Invariant: each attack is judged by the answers to its own lists; an answer
 * serves two attacks only where they ask the same question, word for word.
 */
import type { ProbeSession, Step, StepResult } from './probe-session.ts';
import type { AttackResult } from './report.ts';
import { MEMBERSHIP } from './table-attacks.ts';
import type { Attack } from './verdict.ts';

/** Carries out one group of attacks after another: while the server is at one, the next is written. */
export async function carryOutInTurn(
  session: ProbeSession,
  groups: readonly (() => readonly Attack[])[],
): Promise<AttackResult[]> {
  const results: AttackResult[] = [];
  let before: Promise<AttackResult[]> = Promise.resolve([]);
  for (const attacks of groups) {
    const next = carryOut(session, attacks());
    next.catch(() => {}); // when the one before fails, this one does for no reason but that
    results.push(...(await before));
    before = next;
  }
  results.push(...(await before));
  return results;
}

/** Carries out attacks in one call, and judges what the server answered. */
export async function carryOut(session: ProbeSession, attacks: readonly Attack[]): Promise<AttackResult[]> {
  const lists: (readonly Step[])[] = [];
  const asked = new Map<string, number>();
  const places = attacks.map((attack) =>
    attack.lists.map((list) => {
      const question = questionOf(list);
      const known = question === undefined ? undefined : asked.get(question);
      if (known !== undefined) return known;
      if (question !== undefined) asked.set(question, lists.length);
      return lists.push(list) - 1;
    }),
  );
  const results = await session.attack(lists);
  return attacks.map(({ relation, attack, object, judge }, index) => {
    const verdict = judge((places[index] ?? []).map((place) => results[place] as StepResult));
    return { relation, attack, ...(object === undefined ? {} : { object }), ...verdict };
  });
}

/** What a list asks when it is one question, the same for many tables: who owns them. Each list is undone, so the answer is too. */
function questionOf(list: readonly Step[]): string | undefined {
  const [first, second] = list;
  return first === undefined || second !== undefined || !first[1].startsWith(MEMBERSHIP)
    ? undefined
    : `${first[0]} ${first[1]}`;
}

/** Groups of at most `size`, in order. */
export function inGroups<T>(all: readonly T[], size: number): T[][] {
  const groups: T[][] = [];
  for (let from = 0; from < all.length; from += size) groups.push(all.slice(from, from + size));
  return groups;
}
