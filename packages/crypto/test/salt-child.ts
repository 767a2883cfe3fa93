/** Started as a child process by the salt test: prints salts, one per line. */
import { SaltSource, systemRandom } from '../src/salt-source.ts';

const salts = new SaltSource(systemRandom, true);
for (let i = 0; i < 400; i += 1) {
  const salt = new Uint8Array(24);
  salts.take(salt, 0);
  process.stdout.write(`${Buffer.from(salt).toString('hex')}\n`);
}
