import { describe, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { orgKey, orgPrefix, parseOrgId, parseOrgKey, RingfenceTenancyError } from '../src/storage/index.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const refused = (run: () => unknown) =>
  expect(run).toThrow(expect.objectContaining({ code: 'tenancy.storage_invalid_key' }));

describe('object keys', () => {
  test('stand below the prefix of their organisation, which ends with a slash', () => {
    expect(orgPrefix(ORG)).toBe(`org/${ORG}/`);
    expect(orgKey(ORG, 'invoices', '2026 – März.pdf')).toBe(`org/${ORG}/invoices/2026 – März.pdf`);
  });

  test('refuse segments some layer could read in another way', () => {
    const segments = [
      '',
      '.',
      '..',
      'a/b',
      'a\\b',
      '%2e%2e',
      '100%',
      'a*',
      'a?',
      '$x',
      'a\0',
      'a\n',
      'a\r',
      'a\u007f',
      'a\u0085',
      'a\u00a0b',
      'a\u2028',
      'a\u200b',
      'a\u202e',
      '\ufeffa',
      '\ud800',
      'e\u0301',
      ' a',
      'a ',
      'x'.repeat(251),
      'ü'.repeat(126),
    ];
    for (const segment of segments) {
      refused(() => orgKey(ORG, segment));
      refused(() => orgKey(ORG, 'a', segment, 'b'));
    }
    refused(() => orgKey(ORG));
    refused(() => orgKey(ORG, ...Array<string>(5).fill('x'.repeat(200))));
    expect(() => orgKey(ORG, 1 as unknown as string)).toThrow(TypeError);
    expect(() => orgKey('../other' as never, 'a')).toThrow(TypeError);
  });

  test('are parsed only in the one spelling orgKey gives', () => {
    for (const key of [
      '',
      'a',
      'org/',
      `org/${ORG}`,
      `org/${ORG}/`,
      `org/${ORG}//a`,
      `org/${ORG}/a/`,
      `org/${ORG}/../b`,
      `/org/${ORG}/a`,
      `ORG/${ORG}/a`,
      `org/${ORG.toUpperCase()}/a`,
      `org/${ORG}0/a`,
      `org/${ORG}/a\n`,
      `\norg/${ORG}/a`,
      `org/${ORG}%2fa`,
    ]) {
      refused(() => parseOrgKey(key));
    }
    refused(() => parseOrgKey(undefined as unknown as string));
  });

  test('come back from parsing as they were made, or are refused; the bytes of a key never exceed 1,024', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { maxLength: 12 }), (segments) => {
        let key: string;
        try {
          key = orgKey(ORG, ...segments);
        } catch (error) {
          expect(error).toBeInstanceOf(RingfenceTenancyError);
          return;
        }
        expect(parseOrgKey(key)).toEqual({ org: ORG, segments });
        expect(new TextEncoder().encode(key).length).toBeLessThanOrEqual(1024);
        // What clients and proxies do to a path leaves the key where it is.
        const url = new URL(`https://bucket.example/${key.split('/').map(encodeURIComponent).join('/')}`);
        expect(decodeURIComponent(url.pathname)).toBe(`/${key}`);
      }),
      { numRuns: 2_000 },
    );
  });

  test('do not put a refused segment in the message', () => {
    expect(() => orgKey(ORG, 'Jane Doe/passport.pdf')).toThrow(/^(?!.*Jane)/);
  });
});
