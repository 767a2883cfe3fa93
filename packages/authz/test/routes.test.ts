import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Log, type Running, start } from './routes-fixture.ts';

describe.each(['hono', 'express', 'fastify'] as const)('a route of %s', (framework) => {
  const log = new Log();
  let app: Running;
  beforeAll(async () => {
    app = await start[framework](log);
  });
  afterAll(async () => await app.close());
  beforeEach(() => {
    log.ran.length = 0;
    log.decisions.length = 0;
  });

  test('runs its handler after an allow, with the instance the decision was made on', async () => {
    const { status, body } = await app.send('GET', '/entries/1', 'bookkeeper');
    expect({ status, id: JSON.parse(body).id }).toEqual({ status: 200, id: '1' });
    expect(log.decisions.map(({ effect }) => effect)).toEqual(['allow']);
    expect(log.ran).toEqual(['read 1']);
  });

  test('answers without a session when it is public, and only then', async () => {
    expect((await app.send('GET', '/health')).status).toBe(200);
    for (const [method, path] of [
      ['GET', '/entries/1'],
      ['POST', '/entries'],
      ['DELETE', '/entries/1'],
      ['POST', '/entries/1/approval'],
    ] as const) {
      for (const token of [undefined, 'nobody', '__proto__', 'constructor']) {
        const { status, headers, body } = await app.send(method, path, token);
        expect({ status, challenge: headers['www-authenticate'] }).toEqual({
          status: 401,
          challenge: 'Bearer',
        });
        expect(JSON.parse(body).type).toBe('urn:ringfence:authz:unauthenticated');
      }
    }
    expect(log.ran).toEqual([]);
  });

  test('refuses a deny with 403, as a problem that says nothing of the policy or the resource', async () => {
    const { status, headers, body } = await app.send('POST', '/entries/1/approval', 'bookkeeper');
    expect(status).toBe(403);
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(headers['cache-control']).toBe('no-store');
    expect(JSON.parse(body)).toEqual({
      type: 'urn:ringfence:authz:denied',
      title: 'Not allowed',
      status: 403,
    });
    expect(log.ran).toEqual([]);
  });

  test('cannot be told from one that does not exist by another organisation', async () => {
    const foreign = await app.send('GET', '/entries/1', 'eve');
    const absent = await app.send('GET', '/entries/999', 'eve');
    for (const { headers } of [foreign, absent]) delete headers.date;
    expect(foreign).toEqual(absent);
    expect(foreign.status).toBe(404);
    expect(log.ran).toEqual([]);
  });

  test('cannot be told from one that does not exist by anybody who is refused, where it conceals', async () => {
    const refused = await app.send('DELETE', '/entries/1', 'bookkeeper');
    const absent = await app.send('DELETE', '/entries/999', 'bookkeeper');
    for (const { headers } of [refused, absent]) delete headers.date;
    expect(refused).toEqual(absent);
    expect(refused.status).toBe(404);
  });

  test('asks for a step-up with the challenge of RFC 9470', async () => {
    const { status, headers, body } = await app.send('POST', '/entries/1/approval', 'controller');
    expect(status).toBe(401);
    expect(headers['www-authenticate']).toContain('Bearer error="insufficient_user_authentication"');
    expect(headers['www-authenticate']).toContain('acr_values="urn:ledger:mfa urn:ledger:hardware"');
    expect(JSON.parse(body)).toMatchObject({
      type: 'urn:ringfence:authz:step_up_required',
      step_up: { acr_values: 'urn:ledger:mfa urn:ledger:hardware' },
    });
    expect(log.ran).toEqual([]);
  });

  test('asks for approvals with how many and of whom', async () => {
    const { status, body } = await app.send('POST', '/entries/3/approval', 'strong');
    expect(status).toBe(403);
    expect(JSON.parse(body)).toMatchObject({
      type: 'urn:ringfence:authz:approval_required',
      approvals: [{ n: 2, from: 'owner' }],
    });
    expect(log.ran).toEqual([]);
  });

  test('decides about a resource that is about to be created', async () => {
    expect((await app.send('POST', '/entries', 'bookkeeper')).status).toBe(201);
    expect((await app.send('POST', '/entries', 'controller')).status).toBe(403);
    expect(log.ran).toEqual(['post']);
  });

  test('guards HEAD like GET, and no body of a refusal is sent', async () => {
    for (const [token, status] of [
      [undefined, 401],
      ['eve', 404],
      ['bookkeeper', 200],
    ] as const) {
      const answer = await app.send('HEAD', '/entries/1', token);
      expect({ status: answer.status, body: answer.body }).toEqual({ status, body: '' });
    }
    expect(log.ran).toEqual(['read 1']);
  });

  test('runs no handler for OPTIONS, for other methods, or for a method in a header', async () => {
    for (const method of ['OPTIONS', 'PUT', 'PATCH', 'PROPFIND']) {
      const { body } = await app.send(method, '/entries/1', 'bookkeeper');
      expect(body).not.toContain('createdBy');
    }
    const { status } = await app.send('POST', '/entries/1', 'bookkeeper', {
      'x-http-method-override': 'GET',
    });
    expect([404, 405]).toContain(status);
    expect(log.ran).toEqual([]);
  });

  test.each([
    '/entries/1/',
    '/ENTRIES/1',
    '/entries//1',
    '//entries/1',
    '/./entries/1',
    '/x/../entries/1',
    '/entries/%31',
    '/%65ntries/1',
    '/entries%2F1',
    '/entries/1;a=b',
    '/entries/1?id=2',
    '/entries/1%00',
    '/entries/a%2Fb',
    '/entries/%2e%2e%2fhealth',
    '/health/../entries/1',
    '/health%2F..%2Fentries/1',
    '/entries/%',
    '/entries/__proto__',
    '/entries/constructor',
  ])('is guarded however its path is written: %s', async (path) => {
    const anonymous = await app.send('GET', path);
    expect(anonymous.body).not.toContain('createdBy');
    expect([400, 401, 404]).toContain(anonymous.status);
    const foreign = await app.send('GET', path, 'eve');
    expect(foreign.body).not.toContain('createdBy');
    expect([400, 404]).toContain(foreign.status);
    expect(log.ran).toEqual([]);
    const allowed = await app.send('GET', path, 'bookkeeper');
    if (allowed.status === 200) expect(log.ran).toHaveLength(1);
    else expect(log.ran).toEqual([]);
  });

  test('decodes an encoded slash into a parameter only after routing', async () => {
    expect((await app.send('GET', '/entries/a%2Fb', 'bookkeeper')).status).toBe(200);
    expect(log.ran).toEqual(['read a/b']);
  });
});
