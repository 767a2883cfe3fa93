/**
 * CRC-32C (Castagnoli), the checksum Cloud KMS asks for: RFC 3720 section 12.1 and appendix B.4, reflected polynomial
 * 0x82f63b78. It finds damage in transit; it is no authentication.
 */

const TABLE: Uint32Array = makeTable();

/** CRC-32C of some bytes as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] as number);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function makeTable(): Uint32Array {
  const table = new Uint32Array(256);
  for (let index = 0; index < 256; index += 1) {
    let remainder = index;
    for (let bit = 0; bit < 8; bit += 1) {
      remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1;
    }
    table[index] = remainder >>> 0;
  }
  return table;
}
