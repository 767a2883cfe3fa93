import express from 'express';
import { afterEach, describe, expect, test } from 'vitest';
import { createRoutes, type ExpressRoutes } from '../src/express/index.ts';
import {
  DenialMatrixError,
  type DenialMatrixOptions,
  denialMatrix,
  type MatrixResponse,
} from '../src/testing/index.ts';
import { as, policy, type Role, type resources } from './model.ts';
import {
  type Entry,
  entries,
  expressRoutes,
  fastifyRoutes,
  honoRoutes,
  Log,
  people,
  personOf,
  type Running,
  serve,
  serveExpress,
  start,
} from './routes-fixture.ts';

type Options = DenialMatrixOptions<typeof resources, Role>;

let app: Running | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
});

const known = (id: string): Entry => entries.get(id) as Entry;
const cases: Options['cases'] = {
  'GET /health': [{ public: 'liveness probe', path: '/health' }],
  'GET /entries/:id': [{ action: 'entry.read', path: '/entries/1', resource: known('1') }],
  'POST /entries/:id/approval': ['1', '2', '3'].map((id) => ({
    action: 'entry.approve' as const,
    path: `/entries/${id}/approval`,
    resource: known(id),
  })),
  'POST /entries': [
    {
      action: 'entry.post',
      path: '/entries',
      resource: ({ principal }) => ({ org: principal.org, status: 'draft', locked: false }) as const,
    },
  ],
};
const purge = {
  'DELETE /entries/:id': [{ action: 'entry.purge', path: '/entries/1', resource: known('1') }],
} as const;

function against(running: Running): Options['request'] {
  return async ({ principal, method, path }): Promise<MatrixResponse> => {
    const { status, headers, body } = await running.send(method, path, principal);
    return {
      status,
      headers: { get: (name) => headers[name]?.toString() ?? null },
      text: async () => body,
    };
  };
}

async function failuresOf(options: Options): Promise<readonly string[]> {
  const error = await denialMatrix(options).catch((thrown: unknown) => thrown);
  return error instanceof DenialMatrixError ? error.failures : [];
}

describe.each([
  ['hono', honoRoutes],
  ['express', expressRoutes],
  ['fastify', fastifyRoutes],
] as const)('the matrix of the application on %s', (framework, routesOf) => {
  const declared = routesOf(new Log()).declared.filter(({ method }) => method !== 'DELETE');

  test('holds every route asked by everybody, and agrees with the policy', async () => {
    app = await start[framework](new Log());
    const cells = await denialMatrix({
      routes: declared,
      policy,
      principals: people,
      cases,
      request: against(app),
    });
    expect(cells).toHaveLength(6 * (Object.keys(people).length + 1));
    const outcomes = new Set(cells.map(({ actual }) => actual));
    expect([...outcomes].sort()).toEqual([
      '401 step_up_required',
      '401 unauthenticated',
      '403 approval_required',
      '403 denied',
      '404 not_found',
      'passed',
    ]);
  });

  test('fails for a route that it leaves out, and for one that does not exist', async () => {
    app = await start[framework](new Log());
    const { 'POST /entries': left, ...rest } = cases;
    const failures = await failuresOf({
      routes: declared,
      policy,
      principals: people,
      cases: { ...rest, 'PUT /entries': left ?? [] },
      request: against(app),
    });
    expect(failures).toEqual([
      'PUT /entries: no such route is declared',
      'POST /entries: the matrix leaves it out',
    ]);
  });

  test('fails for a route that nobody may use', async () => {
    app = await start[framework](new Log());
    const failures = await failuresOf({
      routes: routesOf(new Log()).declared,
      policy,
      principals: people,
      cases: { ...cases, ...purge },
      request: against(app),
    });
    expect(failures).toEqual(['DELETE /entries/:id: nobody is allowed in any case']);
  });
});

describe('a planted fault fails the matrix', () => {
  const routesWith = (change: (routes: ExpressRoutes<typeof resources, Role>) => void) => {
    const routes = createRoutes({ policy, context: (req) => personOf(req.get('authorization')) });
    change(routes);
    return routes;
  };
  const read = { 'GET /entries/:id': cases['GET /entries/:id'] ?? [] };
  const base = { policy, principals: people, cases: read };
  const sound = routesWith((routes) =>
    routes.get(
      '/entries/:id',
      { action: 'entry.read', load: (req) => entries.get(req.params.id) },
      (_req, res) => res.json({}),
    ),
  );

  test('none is found where none is', async () => {
    const { declared } = sound;
    app = await serveExpress(sound.install(express()));
    expect(await failuresOf({ ...base, routes: declared, request: against(app) })).toEqual([]);
  });

  test('a handler that runs without its guard', async () => {
    const bare = express().get('/entries/:id', (_req, res) => void res.json({}));
    app = await serve(bare);
    const failures = await failuresOf({ ...base, routes: sound.declared, request: against(app) });
    expect(failures).toHaveLength(2);
    expect(failures.join()).toContain('as nobody: expected 401 unauthenticated, got passed');
    expect(failures.join()).toContain('as eve: expected 404 not_found, got passed');
  });

  test('a declaration with the wrong action', async () => {
    const routes = routesWith(({ get }) =>
      get('/entries/:id', { action: 'entry.post', load: (req) => entries.get(req.params.id) }, (_req, res) =>
        res.json({}),
      ),
    );
    app = await serveExpress(routes.install(express()));
    const failures = await failuresOf({ ...base, routes: routes.declared, request: against(app) });
    expect(failures[0]).toBe('GET /entries/:id: declares entry.post, not entry.read');
    expect(failures.length).toBeGreaterThan(1);
  });

  test('a load that takes the organisation from who asks instead of from the row', async () => {
    const routes = routesWith(({ get }) =>
      get(
        '/entries/:id',
        {
          action: 'entry.read',
          load: (req, { principal }) => ({ ...known(req.params.id), org: principal.org }),
        },
        (_req, res) => res.json({}),
      ),
    );
    app = await serveExpress(routes.install(express()));
    expect(await failuresOf({ ...base, routes: routes.declared, request: against(app) })).toEqual([
      'GET /entries/:id (/entries/1) as eve: expected 404 not_found, got passed',
    ]);
  });

  test('a protected route that was made public', async () => {
    const routes = routesWith(({ get }) =>
      get('/entries/:id', { public: 'while we test' }, (_req, res) => res.json({})),
    );
    app = await serveExpress(routes.install(express()));
    const failures = await failuresOf({ ...base, routes: routes.declared, request: against(app) });
    expect(failures[0]).toBe('GET /entries/:id: declares public, not entry.read');
  });

  test('a refusal that is no refusal of the guard, and one that tells of a foreign resource', async () => {
    for (const status of [403, 500]) {
      const wrong = express().get('/entries/:id', (_req, res) => void res.status(status).end());
      app = await serve(wrong);
      expect(await failuresOf({ ...base, routes: sound.declared, request: against(app) })).toHaveLength(7);
      await app.close();
    }
    app = undefined;
  });

  test('a matrix without anybody of another organisation, without a refusal, without routes', async () => {
    const { eve: _, ...ours } = people;
    const { declared } = sound;
    app = await start.express(new Log());
    const request = against(app);
    expect(await failuresOf({ ...base, principals: ours, routes: declared, request })).toContain(
      'GET /entries/:id: nobody of another organisation asks',
    );
    expect(
      await failuresOf({ ...base, principals: { owner: as('owner') }, routes: declared, request }),
    ).toContain('GET /entries/:id: everybody is allowed in each case');
    expect(await failuresOf({ ...base, routes: [], cases: {}, request })).toEqual([
      'the application declares no route',
    ]);
  });
});
