/** `@ringfence/crypto/testing`: in-memory key store, fault injection, and the conformance suite of KMS providers. */

export { memorySubjectKeyStore } from '../subjects/memory-subject-key-store.ts';
export { type FaultyKms, faultyKms, type KmsFault } from './faulty-kms.ts';
export { type KmsConformanceCase, type KmsHarness, kmsConformance } from './kms-conformance.ts';
export { memoryKeyStore } from './memory-key-store.ts';
