/** A scene of the demo: something is done to the running app, and it must end with one typed code. */

/** How a scene ended. */
export interface Outcome {
  /** True when it ended as it must: refused, detected, or done. */
  readonly stopped: boolean;
  /** Typed code it ended with. */
  readonly code: string;
  /** One line for a person. */
  readonly answer: string;
}

/** One scene on a stage `S`. */
export interface Scene<S> {
  /** What is done. */
  readonly name: string;
  /** The code it must end with. */
  readonly expected: string;
  /** Does it. */
  run(stage: S): Promise<Outcome>;
}

/** Code of an attack that went through. */
export const NOT_STOPPED = 'NOT STOPPED';

/** True when a scene ended as it must. */
export function held<S>({ expected }: Scene<S>, { stopped, code }: Outcome): boolean {
  return stopped && code === expected;
}
