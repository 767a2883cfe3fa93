/** Faults that one layer alone can see, and why: whoever adds a second layer has to take the fault out of here. */

/** Faults by the reason they have in common. */
export const ONE_LAYER: readonly { readonly reason: string; readonly faults: readonly string[] }[] = [
  {
    reason: 'nothing crosses and nothing is wider than declared: a trap for later, which only a rule knows',
    faults: [
      'policy: pattern index under a policy',
      'policy: field of the context taken for each row',
      'keys: invalid index',
      'keys: constraint not validated',
      'grants: sequence shared by all organisations',
      'roles: table owned by a superuser',
      'views: view owned by a superuser',
      'functions: three context keys',
      'activity: event trigger',
      'activity: function that notifies',
      'activity: function with a standard SQL body that notifies',
      'declaration: unclassified sequence',
      'declaration: declared publication dropped',
    ],
  },
  {
    reason: 'beside the tables: the declaration does not cover it, and the probe attacks tables',
    faults: [
      'grants: large object readable',
      'grants: dblink installed',
      'grants: dblink without dblink_connect',
      'grants: foreign server usable',
      'grants: session_replication_role granted',
      'grants: file function executable',
      'grants: write-ahead log readable',
      'roles: app role with CREATEDB',
      'roles: preset session_replication_role = replica',
      'roles: a login with BYPASSRLS',
      'functions: tenancy.keep_job_mark() lets every mark go',
      'functions: leakproof function',
      'functions: tenancy.context() answers without verifying',
      'functions: foreign function in schema tenancy',
      'functions: function that reads the context keys',
      'functions: function with a standard SQL body that reads the context keys',
      'activity: pg_stat_statements readable',
    ],
  },
  {
    reason: 'the owner of a system table answers for its policies: the declaration says only who reaches it',
    faults: [
      'policy: system table open to the app role',
      'policy: system table that an extension holds open to the app role',
    ],
  },
  {
    reason: 'past the handle, and inside the application, the policy is what is left',
    faults: [
      'driver: statement past the handle, without context',
      'driver: context set in a transaction of its own',
      'driver: context without signature',
      'application: query without its WHERE',
      'application: org_id taken from the request body',
    ],
  },
  { reason: 'nothing in the database binds a superuser', faults: ['driver: connection as a superuser'] },
  {
    reason: 'who asks is decided before the handle: only a second source of the organisation can contradict',
    faults: ['application: handle of another organisation than the session'],
  },
  {
    reason:
      'whoever writes to the queue as its owner is held by the envelope alone; the app role cannot write to it',
    faults: ['worker: organisation believed without its envelope'],
  },
  {
    reason: 'the bucket policy alone speaks of TLS; whether the client uses it is its endpoint',
    faults: ['bucket policy: plaintext is not denied'],
  },
];
