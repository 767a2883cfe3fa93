/**
 * Names of the objects of a copy (docs/formats/audit-bucket-v1.md §3), below a log's prefix `<org>/`. Invariant: one
 * spelling per object; whatever is not such a name is foreign.
 */
import { TILE_WIDTH, type TileId, tilePath } from '../checkpoint/tiles.ts';

/** What an object is. */
export type CopyObject =
  | {
      /** Links behind `from`, up to `to`. */
      readonly kind: 'segment';
      /** Link behind which it begins. */
      readonly from: number;
      /** Its last link. */
      readonly to: number;
    }
  | {
      /** Hashes of the tree. */
      readonly kind: 'tile';
      /** Which. */
      readonly tile: TileId;
    }
  | {
      /** A signed note. */
      readonly kind: 'checkpoint';
      /** Leaves of its tree. */
      readonly size: number;
    };

/** Digits of a place: 2^53 has 16, so that a listing by key is one by place. */
const DIGITS = 16;
const SEGMENT = /^segments\/(\d{16})-(\d{16})\.ndjson$/;
const CHECKPOINT = /^checkpoint\/(\d{16})$/;
const TILE = /^tile\/([0-6])\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/** The name below the log's prefix. */
export function objectName(object: CopyObject): string {
  if (object.kind === 'segment') return `segments/${digits(object.from)}-${digits(object.to)}.ndjson`;
  if (object.kind === 'checkpoint') return `checkpoint/${digits(object.size)}`;
  return tilePath(object.tile);
}

/** What a name stands for; undefined when it is none of this format. */
export function parseObjectName(name: string): CopyObject | undefined {
  const object = read(name);
  return object !== undefined && objectName(object) === name ? object : undefined;
}

function read(name: string): CopyObject | undefined {
  const segment = SEGMENT.exec(name);
  if (segment !== null) {
    const [from, to] = [Number(segment[1]), Number(segment[2])];
    return from < to && Number.isSafeInteger(to) ? { kind: 'segment', from, to } : undefined;
  }
  const checkpoint = CHECKPOINT.exec(name);
  if (checkpoint !== null) {
    const size = Number(checkpoint[1]);
    return size > 0 && Number.isSafeInteger(size) ? { kind: 'checkpoint', size } : undefined;
  }
  const [, level, place = '', width] = TILE.exec(name) ?? [];
  if (level === undefined) return undefined;
  const index = Number(place.replaceAll(/[x/]/g, ''));
  const tile = { level: Number(level), index, width: width === undefined ? TILE_WIDTH : Number(width) };
  const fits = Number.isSafeInteger(index) && (width === undefined || tile.width < TILE_WIDTH);
  return fits ? { kind: 'tile', tile } : undefined;
}

function digits(place: number): string {
  return String(place).padStart(DIGITS, '0');
}
