/**
 * Writes the test vectors of the job envelope v1 (docs/formats/job-envelope-v1.md), with intermediate values:
 * `node packages/tenancy/test/job-vectors.ts`. Built on plain concatenation, not on the package, so that the vectors are
 * a second implementation.
 */
import { createHash, createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** A job that is accepted, with every value on the way. Bytes are hex. */
export interface JobVector {
  readonly comment: string;
  readonly secret: string;
  readonly keyId: string;
  readonly org: string;
  readonly queue: string;
  readonly jobId: string;
  readonly issued: string;
  readonly expires: string;
  readonly kind: string;
  readonly actor: string;
  readonly requestId: string;
  readonly payload: string;
  readonly payloadDigest: string;
  readonly macInput: string;
  readonly mac: string;
  readonly envelope: string;
}

/** A job that must be refused where the first vector's key is held. */
export interface RefusedJobVector {
  readonly comment: string;
  readonly envelope: string;
  readonly payload: string;
  readonly code: string;
}

/** The file. */
export interface JobVectors {
  readonly format: string;
  readonly accepted: readonly JobVector[];
  readonly refused: readonly RefusedJobVector[];
}

export const VECTORS_PATH: string = fileURLToPath(
  new URL('../vectors/job-envelope-v1.json', import.meta.url),
);

const prefixed = (part: Buffer) => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(part.length);
  return Buffer.concat([length, part]);
};
const SECRET = Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString('hex');
const LONG_SECRET = Buffer.from(Array.from({ length: 64 }, (_, i) => 255 - i)).toString('hex');

type Inputs = Omit<JobVector, 'payloadDigest' | 'macInput' | 'mac' | 'envelope'>;

const first: Inputs = {
  comment: 'plain',
  secret: SECRET,
  keyId: 'j1',
  org: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60',
  queue: 'statement',
  jobId: '4f2c9c1e-0f5b-4c55-8a1d-7f8f0a3f9d21',
  issued: '1772532672131',
  expires: '1773137472131',
  kind: 'member',
  actor: 'user:alice',
  requestId: 'req-1',
  payload: '{"month":"2026-02"}',
};

const inputs: readonly Inputs[] = [
  first,
  {
    ...first,
    comment: 'no request id, payload beyond ASCII',
    requestId: '',
    payload: '{"memo":"café – 10 €","face":"😀"}',
  },
  {
    ...first,
    comment: 'longest fields, secret of one block',
    secret: LONG_SECRET,
    keyId: 'k'.repeat(32),
    queue: 'q'.repeat(128),
    issued: '1',
    expires: '999999999999999',
    kind: 'k'.repeat(32),
    actor: 'a'.repeat(200),
    requestId: 'r'.repeat(200),
    payload: 'null',
  },
  {
    ...first,
    comment: 'every punctuation character',
    queue: 'a._:/-',
    actor: 'A._:@/+=-',
    requestId: 'Z._:@/+=-',
    kind: 'k_9',
    payload: '""',
  },
];

function accepted(vector: Inputs): JobVector {
  const fields = [
    vector.keyId,
    vector.org,
    vector.queue,
    vector.jobId,
    vector.issued,
    vector.expires,
    vector.kind,
    vector.actor,
    vector.requestId,
  ];
  const digest = createHash('sha256').update(Buffer.from(vector.payload, 'utf8')).digest();
  const parts = [
    ...['ringfence/job-envelope/v1', ...fields].map((text) => Buffer.from(text, 'ascii')),
    digest,
  ].map(prefixed);
  const macInput = Buffer.concat(parts);
  const mac = createHmac('sha256', Buffer.from(vector.secret, 'hex')).update(macInput).digest('hex');
  return {
    ...vector,
    payloadDigest: digest.toString('hex'),
    macInput: macInput.toString('hex'),
    mac,
    envelope: ['rfjob1', ...fields, mac].join('|'),
  };
}

/** The content of the file. */
export function jobVectors(): JobVectors {
  const all = inputs.map(accepted);
  const { envelope, payload } = all[0] as JobVector;
  const edited = (comment: string, code: string, from: string, to: string) => ({
    comment,
    envelope: envelope.replace(from, to),
    payload,
    code: `tenancy.job_${code}`,
  });
  return {
    format: 'job-envelope-v1',
    accepted: all,
    refused: [
      { comment: 'another payload', envelope, payload: '{"month":"2026-03"}', code: 'tenancy.job_altered' },
      {
        comment: 'the same payload in another spelling',
        envelope,
        payload: '{"month": "2026-02"}',
        code: 'tenancy.job_altered',
      },
      edited('another organisation', 'altered', '1b7a60', '1b7a61'),
      edited('another queue', 'altered', '|statement|', '|payment|'),
      edited('another job id', 'altered', '9d21', '9d22'),
      edited('a later expiry', 'altered', '|1773137472131', '|1873137472131'),
      edited('another actor', 'altered', 'user:alice', 'user:mallory'),
      edited('a field shifted into its neighbour', 'altered', 'user:alice|req-1', 'user:alicereq-1|'),
      edited('another kind', 'altered', '|member|', '|owner|'),
      edited('an unknown key', 'unknown_key', '|j1|', '|j2|'),
      edited('an unknown version', 'unsupported_version', 'rfjob1', 'rfjob2'),
      edited('another format', 'malformed', 'rfjob1', 'rf1'),
      edited('an upper-case organisation', 'malformed', '9a51-3f2e8c1b7a60', '9A51-3F2E8C1B7A60'),
      edited('a time with a leading zero', 'malformed', '|1772532672131', '|01772532672131'),
      edited('an empty actor', 'malformed', 'user:alice', ''),
      edited('a field too many', 'malformed', '|req-1', '|req-1|x'),
      edited('a field too few', 'malformed', '|req-1', ''),
      { comment: 'an upper-case mac', envelope: upperMac(envelope), payload, code: 'tenancy.job_malformed' },
      {
        comment: 'cut by one character',
        envelope: envelope.slice(0, -1),
        payload,
        code: 'tenancy.job_malformed',
      },
      { comment: 'empty', envelope: '', payload, code: 'tenancy.job_malformed' },
    ],
  };
}

function upperMac(envelope: string): string {
  return envelope.slice(0, -64) + envelope.slice(-64).toUpperCase();
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(VECTORS_PATH, `${JSON.stringify(jobVectors(), null, 2)}\n`);
}
