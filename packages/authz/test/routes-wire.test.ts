/**
 * Listening servers, and bytes no client writes. The oracle: a handler that ran, ran after one allow of its very request,
 * by the person this request names, for the action this route declares, on what was loaded with these parameters.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Listening, MAY, type Ran, SERVERS, Witness } from './wire-apps.ts';
import { bytes, exchange, marksOf, statusesOf, targetsBelow } from './wire-bytes.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'];
const ODD_METHODS = [
  ...[
    'PUT',
    'TRACE',
    'QUERY',
    'PROPFIND',
    'M-SEARCH',
    'SOURCE',
    'get',
    'Get',
    'gEt',
    'ALL',
    '_ALL',
    'USE',
    'GET\t',
  ],
  ...[' GET', 'GET\x00', 'G\xc9T', 'head', 'post', 'CONNECT', 'PRI', '*', ''],
];
const TOKENS = [undefined, 'eve', 'owner', 'bookkeeper'] as const;

/** What is wrong with a handler that ran; empty when nothing is. */
function faults(witness: Witness, ran: Ran): readonly string[] {
  const { request, route, action, params, token, allowed } = ran;
  if (action === undefined) return [];
  const { contexts, loads, decisions } = witness.of(request);
  const may = token === undefined ? undefined : MAY[token];
  const [load] = loads;
  const [decision] = decisions;
  const wrong: readonly (readonly [string, boolean])[] = [
    ['nobody may', may === undefined || !may.actions.includes(action)],
    ['not one session, one resource, one decision', contexts.length * loads.length * decisions.length !== 1],
    ['decided for another route', load?.route !== route],
    ['decided with other parameters', JSON.stringify(load?.params) !== JSON.stringify(params)],
    ['another resource', allowed === undefined || load?.resource !== allowed.resource],
    ['another decision', allowed === undefined || decision !== allowed.decision],
    ['another person', allowed === undefined || contexts[0] !== allowed.context],
    ['another action', decision?.action !== action],
    ['no allow', decision?.effect !== 'allow'],
    ['of another organisation', load?.resource.org !== may?.org],
  ];
  return wrong.flatMap(([what, is]) =>
    is ? [`${route} ${JSON.stringify(params)} as ${token}: ${what}`] : [],
  );
}

describe.each(SERVERS)('%s', (_, prefix, start) => {
  let server: Listening;
  let witness = new Witness();
  const sent = new Map<string, string | undefined>();
  // One witness for the life of the server, emptied between the tests.
  beforeAll(async () => {
    witness = new Witness();
    server = await start(witness);
  });
  afterAll(async () => await server.close());
  beforeEach(() => {
    witness.ran.length = 0;
    sent.clear();
  });

  const request = (
    line: string,
    token?: string,
    more: readonly string[] = ['host: localhost'],
    body = '',
  ): Buffer => {
    const probe = String(sent.size + 1);
    sent.set(probe, token);
    const authorization = token === undefined ? [] : [`authorization: Bearer ${token}`];
    return bytes(line, [...more, `x-probe: ${probe}`, ...authorization], body);
  };
  const last = () =>
    request('GET /nowhere/at/all HTTP/1.1', undefined, ['host: localhost', 'connection: close']);

  /** Sends everything over one connection and holds what ran, and what was answered, against the oracle. */
  const attack = async (
    parts: readonly Buffer[],
    how?: 'in turn' | 'cut off',
  ): Promise<readonly number[]> => {
    const answer = await exchange(server.port, how === 'cut off' ? parts : [...parts, last()], how);
    const found = witness.ran.flatMap((ran) => faults(witness, ran));
    const marks = marksOf(answer);
    const lied = marks.filter(([probe, token]) => (sent.get(probe) ?? 'nobody') !== token);
    const unasked = witness.ran.filter(({ probe, token }) => !sent.has(probe) || sent.get(probe) !== token);
    const order = marks.map(([probe]) => Number(probe));
    expect({ found, lied, unasked, order }).toEqual({
      ...{ found: [], lied: [], unasked: [], order: order.toSorted((a, b) => a - b) },
    });
    return statusesOf(answer);
  };
  const routesRun = () => [...new Set(witness.ran.map(({ route }) => route))].sort();

  test('runs no handler without its decision, whatever the target', async () => {
    const reached = new Set<string>();
    for (const target of targetsBelow(prefix)) {
      await attack(
        METHODS.flatMap((method) => TOKENS.map((token) => request(`${method} ${target} HTTP/1.1`, token))),
      );
      for (const route of routesRun()) reached.add(route);
      witness.ran.length = 0;
    }
    // What somebody may do was done, or the attacks went nowhere; what nobody may was not.
    expect([...reached].sort()).toEqual([
      ...['GET /entries/:id', 'GET /health', 'PATCH /entries/:id', 'POST /entries'],
    ]);
  }, 120_000); // 12,000 to 20,000 requests to each server

  test('runs no handler for a method nobody declared, nor for one that a header or a body names', async () => {
    const overrides = ['x-http-method-override', 'x-http-method', 'x-method-override'];
    for (const path of ['/', '/health', '/entries', '/entries/1', '/entries/1/approval']) {
      for (const method of ODD_METHODS)
        for (const version of ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 ', 'http/1.1', ''])
          await attack([request(`${method} ${prefix}${path} ${version}`, 'bookkeeper')]);
      for (const wanted of ['GET', 'PATCH', 'DELETE']) {
        const headers = ['host: localhost', ...overrides.map((name) => `${name}: ${wanted}`)];
        const body = `_method=${wanted}`;
        const form = [
          ...headers,
          'content-type: application/x-www-form-urlencoded',
          `content-length: ${body.length}`,
        ];
        for (const method of ['OPTIONS', 'PUT'])
          await attack([
            request(`${method} ${prefix}${path}?_method=${wanted} HTTP/1.1`, 'bookkeeper', headers),
            request(`${method} ${prefix}${path} HTTP/1.1`, 'bookkeeper', form, body),
          ]);
      }
    }
    expect(witness.ran).toEqual([]);
  });

  test('is not moved to another route by Host, nor by headers about addresses', async () => {
    const hosts = [
      ...[
        '',
        ' ',
        'localhost/entries/1?',
        'localhost/entries/1#',
        'localhost/entries/1',
        'x@localhost',
        '[::1]',
      ],
      ...[
        'localhost:99999',
        'localhost:80/entries/1?',
        'localhost\\entries\\1',
        'a,b',
        'localhost ',
        '%2fentries',
      ],
      ...['localhost\t/entries/1', '/entries/1?', '?', '#', 'a b', '\xe9', 'x'.repeat(8_000), '../entries/1'],
    ].map((host) => [`host: ${host}`]);
    const addresses = [
      'x-original-url',
      'x-rewrite-url',
      'x-forwarded-path',
      'x-forwarded-uri',
      'x-forwarded-host',
    ];
    const moved = addresses.map((name) => ['host: localhost', `${name}: ${prefix}/entries/1`]);
    for (const headers of [
      ...hosts,
      ...moved,
      [],
      ['host: a', 'host: b'],
      ['host: a', 'host: localhost/entries/1?'],
    ])
      for (const version of ['1.1', '1.0'])
        await attack(
          TOKENS.map((token) => request(`GET ${prefix}/health HTTP/${version}`, token, [...headers])),
        );
    expect(routesRun()).toEqual(['GET /health']);
  });

  test('runs no request that is the body, a trailer or a folded header of another', async () => {
    const inner = `GET ${prefix}/entries/1 HTTP/1.1\r\nhost: x\r\nx-probe: inner\r\nauthorization: Bearer bookkeeper\r\n\r\n`;
    const chunk = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n`;
    const trailer = 'authorization: Bearer bookkeeper\r\nx-probe: inner\r\nhost: x\r\n\r\n';
    const framings: readonly (readonly [readonly string[], string])[] = [
      [[`content-length: ${inner.length}`], inner],
      [['transfer-encoding: chunked'], `${chunk}\r\n`],
      [['transfer-encoding: chunked', 'trailer: authorization'], `${chunk}${trailer}`],
      [['transfer-encoding: chunked', 'te: trailers'], `0\r\n${trailer}`],
      [['transfer-encoding: chunked', `content-length: ${inner.length}`], `${chunk}\r\n`],
      [[`content-length: ${inner.length}`, 'transfer-encoding: chunked'], inner],
      [['content-length: 0', `content-length: ${inner.length}`], inner],
      [[`content-length: ${inner.length}, 0`], inner],
      [[`content-length: +${inner.length}`], inner],
      [['content-length: -1'], inner],
      [['content-length: 0x10'], inner],
      [['transfer-encoding: xchunked'], inner],
      [['transfer-encoding: chunked, identity'], inner],
      [['transfer-encoding: identity', `content-length: ${inner.length}`], inner],
      [['transfer-encoding : chunked'], `${chunk}\r\n`],
      [['transfer-encoding:\x0bchunked'], `${chunk}\r\n`],
      [['expect: 100-continue', `content-length: ${inner.length}`], inner],
      [['expect: anything', `content-length: ${inner.length}`], inner],
      [[`x-folded: a\r\n authorization: Bearer bookkeeper`], ''],
      [[`x-folded: a\r\n\tx-probe: inner`], ''],
      [[`x-split: a\rauthorization: Bearer bookkeeper`], ''],
      [[`x-nul: a\0\r\n`], ''],
      [[' authorization: Bearer bookkeeper'], ''],
      [['authorization : Bearer bookkeeper'], ''],
      [['author\u0131zation: Bearer bookkeeper', 'authorization\0: Bearer bookkeeper'], ''],
      [['proxy-authorization: Bearer bookkeeper', 'cookie: authorization=Bearer bookkeeper'], ''],
    ];
    for (const [headers, body] of framings) {
      for (const method of ['POST', 'PATCH', 'GET']) {
        for (const token of ['eve', undefined]) {
          const path = `${prefix}/entries${method === 'POST' ? '' : '/1'}`;
          const parts = [
            request(`${method} ${path} HTTP/1.1`, token, ['host: localhost', ...headers], body),
            request(`GET ${prefix}/health HTTP/1.1`),
          ];
          await attack(parts);
          await attack(parts.slice(0, 1), 'cut off');
        }
      }
    }
    expect(routesRun()).toEqual(['GET /health']);
  });

  test('takes the first of two persons, or none', async () => {
    for (const first of ['eve', 'nobody', '', '\xe9'])
      for (const second of ['Bearer bookkeeper', 'Basic bookkeeper'])
        await attack([
          request(`PATCH ${prefix}/entries/1 HTTP/1.1`, first, ['host: localhost']),
          bytes(`PATCH ${prefix}/entries/1 HTTP/1.1`, [
            ...['host: localhost', `authorization: Bearer ${first}`, `authorization: ${second}`],
          ]),
        ]);
    expect(witness.ran).toEqual([]);
  });

  test('keeps nothing of one request for the next on the same connection', async () => {
    const path = `GET ${prefix}/entries/1 HTTP/1.1`;
    const tokens = ['bookkeeper', undefined, 'owner', 'eve', 'nobody', 'bookkeeper', 'eve', undefined];
    const expected = [200, 401, 200, 404, 401, 200, 404, 401, 404];
    for (const how of [undefined, 'in turn'] as const) {
      const parts = tokens.map((token) => request(path, token));
      expect(await attack(parts, how)).toEqual(expected);
    }
    expect(witness.ran).toHaveLength(6);
  });

  test('asks for a decision when the connection is to be upgraded, and when the client is gone', async () => {
    const upgrades = [
      [
        'connection: upgrade',
        'upgrade: websocket',
        'sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==',
        'sec-websocket-version: 13',
      ],
      ['connection: upgrade, http2-settings', 'upgrade: h2c', 'http2-settings: AAMAAABkAAQAoAAAAAIAAAAA'],
    ];
    for (const headers of upgrades)
      for (const token of TOKENS)
        await attack(
          [request(`GET ${prefix}/entries/1 HTTP/1.1`, token, ['host: localhost', ...headers])],
          'cut off',
        );
    for (const token of TOKENS)
      for (const method of METHODS) {
        const headers = ['host: localhost', 'content-type: application/json', 'content-length: 100'];
        await attack(
          [request(`${method} ${prefix}/entries/1 HTTP/1.1`, token, headers, '{"half":')],
          'cut off',
        );
        await attack([request(`${method} ${prefix}/entries/1 HTTP/1.1`, token)], 'cut off');
      }
    // The answers to those who left are not waited for by the client: ask once more, behind them all.
    await attack([request(`GET ${prefix}/health HTTP/1.1`)], 'in turn');
    expect(routesRun()).toContain('GET /entries/:id');
  });
});
