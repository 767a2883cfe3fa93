/** How the demo writes: colour on a terminal, the same words without it elsewhere. */
import { styleText } from 'node:util';

const colour = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;

type Style = Parameters<typeof styleText>[0];

function styled(style: Style, text: string): string {
  return colour ? styleText(style, text, { validateStream: false }) : text;
}

/** Prints a blank line and a title. */
export function title(text: string): void {
  console.log(`\n${styled(['bold'], text)}`);
}

/** Prints a step that succeeded. */
export function done(text: string, detail = ''): void {
  console.log(`  ${styled('green', '✓')} ${text}${detail === '' ? '' : `  ${styled('dim', detail)}`}`);
}

/** Prints an attack and how it ended; the code is told from the answer without colour too. */
export function outcome(stopped: boolean, attack: string, answer: string, code: string): void {
  const mark = stopped ? styled('green', '✓') : styled('red', '✗');
  console.log(`  ${mark} ${attack}`);
  console.log(`    ${styled('dim', '→')} ${answer} ${styled(stopped ? 'cyan' : 'red', `[${code}]`)}`);
}

/** Prints a plain line. */
export function say(text: string): void {
  console.log(`  ${text}`);
}

/** Prints a closing line. */
export function closing(good: boolean, text: string): void {
  console.log(`\n${styled(['bold', good ? 'green' : 'red'], text)}`);
}
