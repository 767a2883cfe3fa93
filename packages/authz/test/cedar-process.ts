/** Cedar in a process of its own, asked in batches. An abort of the process is an error of the question, never an answer. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { CedarRequest } from '../src/cedar/index.ts';

/** One policy set and its requests. */
export interface CedarQuestion {
  readonly schema: string;
  readonly policies: Readonly<Record<string, string>>;
  readonly requests: readonly CedarRequest[];
}

/** One decision; `refused` when the request does not fit the schema. */
export interface CedarAnswer {
  readonly decision: 'allow' | 'deny' | 'refused';
  /** Ids of the determining policies, sorted. */
  readonly reason: readonly string[];
  /** Policies whose evaluation erred. */
  readonly errors: readonly string[];
}

/** Answers to a question. */
export interface CedarReply {
  /** Syntax errors and what the strict validator finds. */
  readonly findings: readonly string[];
  readonly answers: readonly CedarAnswer[];
}

export class CedarProcess {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'cedar-child.ts'), { execArgv: [] });

  /** Asks; one question at a time. */
  ask(question: CedarQuestion): Promise<CedarReply> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        this.#child.off('message', answered).off('exit', ended).off('error', reject);
        settle();
      };
      const answered = (reply: unknown) => done(() => resolve(reply as CedarReply));
      const ended = (code: number | null, signal: string | null) =>
        done(() => reject(new Error(`Cedar's process ended: ${code ?? signal}`)));
      this.#child.on('message', answered).on('exit', ended).on('error', reject);
      this.#child.send(question);
    });
  }

  close(): void {
    this.#child.disconnect();
  }
}
