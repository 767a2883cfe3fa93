/**
 * Signed checkpoints of each organisation's log: a Merkle tree over its events, proofs, witnesses.
 *
 * @packageDocumentation
 */

export { type DeploymentEntry, deploymentLeaf } from '../verify/deployment-entry.ts';
export type { NoteKeyKind, VerifierKey } from '../verify/signed-note.ts';
export {
  type Checkpointer,
  type CheckpointerOptions,
  type CheckpointLag,
  createCheckpointer,
} from './checkpointer.ts';
export type { CheckpointDatabase } from './database.ts';
export {
  createDeploymentLog,
  type DeploymentCheckpoint,
  type DeploymentLog,
  type DeploymentLogOptions,
  type OrgInclusionProof,
} from './deployment-log.ts';
export type { DeploymentFinding, DeploymentReport } from './deployment-report.ts';
export type { InclusionProof } from './proofs.ts';
export type { ScheduleOptions } from './schedule.ts';
export type { StoredCheckpoint } from './signed-tree.ts';
export { type LocalSignerOptions, localSigner, type Signer, verifierKeyOf } from './signer.ts';
export {
  type HttpTimestampAuthorityOptions,
  httpTimestampAuthority,
  type Timestamp,
  type TimestampAuthority,
  timestampNote,
} from './timestamp.ts';
export {
  type CheckpointWitness,
  createWitness,
  type WatchedLog,
  type WitnessedHead,
  type WitnessOptions,
  type WitnessReply,
  type WitnessState,
} from './witness.ts';
export type { CosignFailure, CosignReport, Witness, WitnessAnswer } from './witness-client.ts';
export { type HttpWitnessOptions, httpWitness, witnessServer } from './witness-http.ts';
export { type FileWitnessState, fileWitnessState } from './witness-state.ts';
