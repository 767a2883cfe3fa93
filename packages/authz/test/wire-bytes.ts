/** Requests as bytes: targets no client would write, and a socket that sends what it is given. */
import { connect } from 'node:net';

const PATHS = [
  ...['/', '/health', '/entries', '/entries/1', '/entries/foreign', '/entries/export', '/entries/1/approval'],
  ...['/entries/1/lines/2', '/x/1'],
] as const;

/** Other ways to write a path. Some mean the same to some router, most mean something else. */
const SPELLINGS: readonly ((path: string) => string)[] = [
  (path) => path,
  (path) => `${path}/`,
  (path) => `${path}//`,
  (path) => `${path}.`,
  (path) => `${path}/.`,
  (path) => `${path}/..`,
  (path) => `${path}/../1`,
  (path) => `/${path}`,
  (path) => path.replaceAll('/', '//'),
  (path) => `/.${path}`,
  (path) => `/x/..${path}`,
  (path) => `/health/..${path}`,
  (path) => `/%2e%2e${path}`,
  (path) => `/health/%2e%2e${path}`,
  (path) => `/health%2f..${path}`,
  (path) => path.replace(/(?<=.)\//g, '%2F'),
  (path) => path.replace(/(?<=.)\//g, '%252f'),
  (path) => path.replaceAll('/', '%5c'),
  (path) => path.replaceAll('/', '\\'),
  (path) => path.replace(/(?<=.)\//g, '%c0%af'),
  (path) => path.replace(/(?<=.)\//g, '\xc0\xaf'),
  (path) => path.replace(/(?<=.)\//g, '%e0%80%af'),
  (path) => path.replace(/\w/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (path) => path.replace(/\w/, (letter) => `%25${letter.charCodeAt(0).toString(16)}`),
  (path) => path.replace(/\w$/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (path) => path.toUpperCase(),
  (path) => `${path};a=b`,
  (path) => path.replace(/(?<=.)\//g, ';a=b/'),
  (path) => `${path}%00`,
  (path) => `${path}\0`,
  (path) => `${path}%20`,
  (path) => `${path}%0d%0aAuthorization:%20Bearer%20bookkeeper`,
  (path) => `${path}%`,
  (path) => `${path}%ff`,
  (path) => `${path}\u00e9`,
  (path) => `${path}?`,
  (path) => `${path}?id=foreign&id=2&__proto__[id]=3`,
  (path) => `${path}#/health`,
  (path) => `${path}%3f`,
  (path) => `${path}%23`,
  (path) => `${path}*`,
  (path) => `/health?${path}`,
  (path) => `/health#${path}`,
  (path) => `/health;${path}`,
  (path) => `?${path}`,
  (path) => `*${path}`,
  (path) => path.slice(1),
  (path) => `http://localhost${path}`,
  (path) => `HTTP://LOCALHOST:1${path}`,
  (path) => `http://localhost?${path}`,
  (path) => `http://localhost/health@x${path}`,
  (path) => `http://u:p@evil.example${path}`,
  (path) => `http:${path}`,
  (path) => `http:/${path}`,
  (path) => `http:///${path}`,
  (path) => `ftp://localhost${path}`,
  (path) => `//localhost${path}`,
  (path) => `javascript://localhost${path}`,
  (path) => `/http://localhost${path}`,
];

const BARE = [
  '*',
  '',
  '?',
  '#',
  '/..',
  '/%',
  'localhost:80',
  'localhost',
  ':',
  '/entries/__proto__',
] as const;

/** The targets for an application below a prefix: the prefix is written in the odd way too, or before it. */
export function targetsBelow(prefix: string): readonly string[] {
  const spelled = PATHS.flatMap((path) =>
    SPELLINGS.flatMap((spell) => [spell(`${prefix}${path}`), `${prefix}${spell(path)}`]),
  );
  return [...new Set([...BARE, ...spelled])];
}

/** The bytes of a request; each character is one byte. */
export function bytes(line: string, headers: readonly string[], body = ''): Buffer {
  return Buffer.from(`${[line, ...headers].join('\r\n')}\r\n\r\n${body}`, 'latin1');
}

/**
 * Sends the parts over one connection and gives what came until it was closed. `pipelined`: all in one piece;
 * `in turn`: each after the answer to the one before; `cut off`: in one piece, and nothing more will come.
 */
export async function exchange(
  port: number,
  parts: readonly Buffer[],
  how: 'pipelined' | 'in turn' | 'cut off' = 'pipelined',
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const waiting = how === 'in turn' ? [...parts] : [Buffer.concat(parts)];
    let received = '';
    let written = 0;
    const socket = connect({ host: '127.0.0.1', port });
    const next = () => {
      const part = waiting.shift();
      if (part === undefined) return;
      written += 1;
      socket.write(part);
      if (how === 'cut off') socket.end();
    };
    socket.setTimeout(20_000, () => socket.destroy(new Error('the server neither answers nor closes')));
    socket.on('connect', next);
    socket.on('data', (part: Buffer) => {
      received += part.toString('latin1');
      if (statusesOf(received).length >= written) next();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A server that closes while bytes are under way resets the connection; what came until then counts.
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(received));
  });
}

/** The marks that handlers left in the answers: probe, token, action; in the order of the answers. */
export function marksOf(
  answer: string,
): readonly (readonly [probe: string, token: string, action: string])[] {
  return [...answer.matchAll(/^x-ran: (\S+) (\S+) (\S+)\r$/gim)].map(
    ([, probe = '', token = '', action = '']) => [probe, token, action],
  );
}

/** The status of each answer. */
export function statusesOf(answer: string): readonly number[] {
  return [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}
