/** `@ringfence/crypto/subjects`: a key per data subject inside an organisation, and its erasure. */
export {
  createSubjectKeys,
  type SubjectKeyring,
  type SubjectKeysOptions,
  subjectKeyIdOfMessage,
} from './create-subject-keys.ts';
export { type ErasureCertificate, isIntactErasureCertificate } from './erasure.ts';
export type { SubjectRewrapOptions, SubjectRewrapProgress, SubjectRewrapReport } from './rewrap.ts';
export type { SubjectCacheStats } from './subject-cache.ts';
export type {
  SubjectEntry,
  SubjectKeyRecord,
  SubjectKeyStore,
  SubjectRewrap,
  SubjectTombstone,
} from './subject-key-store.ts';
export type { SubjectKeys } from './subject-keys.ts';
