/**
 * Optional capture of row changes: an application's table whose every change, also one made outside the application,
 * becomes an event in the chain of the row's organisation.
 *
 * @packageDocumentation
 */
export { type CaptureOptions, captureTriggers } from './capture-triggers.ts';
