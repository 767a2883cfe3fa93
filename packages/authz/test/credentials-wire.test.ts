/**
 * Credentials as bytes on running servers: whatever stands in an Authorization header, a request is admitted with
 * exactly the token or the key that was issued, in its one spelling, and answered with 401 otherwise. Never with an error.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import express from 'express';
import Fastify from 'fastify';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRoutes as createExpressRoutes } from '../src/express/index.ts';
import { createRoutes as createFastifyRoutes } from '../src/fastify/index.ts';
import { createRoutes as createHonoRoutes } from '../src/hono/index.ts';
import type { RequestContext } from '../src/index.ts';
import { createTokenVerifier } from '../src/session/index.ts';
import { KeyWorld } from './keys-fixture.ts';
import { as, entry, policy, type Role } from './model.ts';
import { TestIssuer } from './session-fixture.ts';
import { bytes, exchange, statusesOf } from './wire-bytes.ts';

const issuer = await TestIssuer.start();
const world = new KeyWorld(issuer);
const keys = world.keys();
const verifier = createTokenVerifier({ issuers: [issuer.config], ...world.clock });
const key = (await keys.create(await world.creation())).key.reveal();
const token = await issuer.sign(issuer.access());

/** Takes the least care an application can take with the header: all that follows the scheme is the credential. */
async function context(header: string | undefined): Promise<RequestContext<Role> | undefined> {
  if (header === undefined) return undefined;
  const credential = header.replace(/^bearer /i, '');
  if (credential.startsWith('ldg')) await keys.verify(credential);
  else await verifier.verifyAccessToken(credential);
  return as('bookkeeper');
}

const access = { action: 'entry.read', load: () => entry } as const;
const servers: Readonly<Record<string, () => Promise<Server>>> = {
  Express: async () => {
    const routes = createExpressRoutes({
      policy,
      context: (request) => context(request.get('authorization')),
    });
    routes.get('/entry', access, (_request, response) => response.send('createdBy'));
    return createServer(routes.install(express()));
  },
  Fastify: async () => {
    const routes = createFastifyRoutes({ policy, context: ({ headers }) => context(headers.authorization) });
    routes.get('/entry', access, () => 'createdBy');
    const app = routes.install(Fastify());
    await app.ready();
    return app.server;
  },
  Hono: async () => {
    const routes = createHonoRoutes({ policy, context: (c) => context(c.req.header('authorization')) });
    routes.get('/entry', access, (c) => c.text('createdBy'));
    return createAdaptorServer(routes.install(new Hono())) as Server;
  },
};

/** Headers that hold a credential and something else, or another spelling of it. */
const formsOf = (text: string): readonly (readonly string[])[] =>
  [
    ...[
      '',
      'Bearer',
      'Bearer ',
      'Bearer undefined',
      'Bearer null',
      'Bearer [object Object]',
      'Bearer __proto__',
    ],
    ...[`Basic ${text}`, `Basic ${btoa(`x:${text}`)}`, `Digest ${text}`, `Bearer Bearer ${text}`],
    ...[
      `Bearer  ${text}`,
      `Bearer\t${text}`,
      `Bearer:${text}`,
      `Bearer=${text}`,
      `Bearer,${text}`,
      `Bearer\xa0${text}`,
    ],
    ...[
      `Bearer "${text}"`,
      `Bearer <${text}>`,
      `Bearer token=${text}`,
      `Bearer ${text},`,
      `Bearer ${text};q=1`,
    ],
    ...[
      `Bearer ${text} ${text}`,
      `Bearer ${text}, Bearer ${text}`,
      `Bearer x, Bearer ${text}`,
      `Basic x, Bearer ${text}`,
    ],
    ...[`Bearer ${text}=`, `Bearer ${text}==`, `Bearer ${text}.`, `Bearer .${text}`, `Bearer ${text}\xa0`],
    ...[
      `Bearer ${text}\xe9`,
      `Bearer \xef\xbb\xbf${text}`,
      `Bearer ${text}%00`,
      `Bearer ${encodeURIComponent(text)}%20`,
    ],
    ...[`Bearer ${text.toUpperCase()}`, `Bearer ${text.toLowerCase()}`, `Bearer ${text.slice(0, -1)}`],
    ...[
      `Bearer ${text.slice(1)}`,
      `Bearer ${text}A`,
      `Bearer ${text.replace(/[._]/, '-')}`,
      `Bearer ${btoa(text)}`,
    ],
    ...[`Bearer ${text.replace(/[A-Za-z]$/, (last) => String.fromCharCode(last.charCodeAt(0) + 128))}`],
    ...[`Bearer ${text}${'A'.repeat(8_000)}`, `Bearer ${'.'.repeat(8_000)}`, `Bearer ${'a.'.repeat(4_000)}a`],
    ...[`Bearer ldg_live_${'0'.repeat(55)}`, `Bearer ldg_live_${'\xff'.repeat(55)}`, `Bearer ldg`],
  ]
    .map((value) => [`authorization: ${value}`])
    .concat([
      ...[[`authorization: Bearer x`, `authorization: Bearer ${text}`]],
      ...[[`authorization: Basic eDp5`, `authorization: Bearer ${text}`]],
      ...[[`authorization:`, `authorization: Bearer ${text}`]],
      ...[
        [`proxy-authorization: Bearer ${text}`],
        [`x-authorization: Bearer ${text}`],
        [`cookie: token=${text}`],
      ],
    ]);

/** What the server's parser may refuse before anybody is asked: bytes after a line end, headers of 16 KiB. */
const BROKEN = (text: string): readonly (readonly string[])[] => [
  [`authorization: Bearer ${text.slice(0, 9)}\r\n ${text.slice(9)}`],
  [`authorization: Bearer\r\n\t${text}x`],
  [`authorization: Bearer ${text}\0`],
  [`authorization: Bearer ${text}\x7f`],
  [`authorization : Bearer ${text}`],
  [`authorization: Bearer ${'A'.repeat(20_000)}`],
];

describe.each(Object.entries(servers))('%s', (_, start) => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = await start();
    if (!server.listening) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const ask = async (headers: readonly string[]) => {
    const sent = bytes('GET /entry?access_token=x HTTP/1.1', [
      'host: localhost',
      'connection: close',
      ...headers,
    ]);
    const answer = await exchange(port, [sent]);
    return { statuses: statusesOf(answer), shown: answer.includes('createdBy') };
  };

  describe.each([
    ['an access token', token],
    ['an API key', key],
  ])('%s', (_kind, text) => {
    test('is admitted in its one spelling', async () => {
      for (const value of [`Bearer ${text}`, `bearer ${text}`, ` \t Bearer ${text} \t`])
        expect(await ask([`Authorization: ${value}`])).toEqual({ statuses: [200], shown: true });
    });

    test('is refused with 401 in every other, and beside anything else', async () => {
      for (const headers of formsOf(text))
        expect({ headers, ...(await ask(headers)) }).toEqual({ headers, statuses: [401], shown: false });
    });

    test('is refused where the header itself is broken', async () => {
      for (const headers of BROKEN(text)) {
        const { statuses, shown } = await ask(headers);
        expect({ headers, shown }).toEqual({ headers, shown: false });
        expect([400, 401, 431]).toContain(statuses[0]);
      }
    });
  });
});

afterAll(async () => await issuer.close());
