/** A witness that is killed after its state is on disk and before it answers: argv is the directory, a key, a log. */
import { join } from 'node:path';
import { createWitness, fileWitnessState, localSigner, witnessServer } from '../src/checkpoint/index.ts';

const [directory = '', pem = '', origin = '', key = ''] = process.argv.slice(2);
const state = fileWitnessState(join(directory, 'state.json'));
const witness = createWitness({
  signer: localSigner({ name: 'witness.example/w', privateKey: pem }),
  logs: [{ origin, keys: [key] }],
  state: {
    read: state.read,
    write: async (log, head) => {
      await state.write(log, head);
      process.kill(process.pid, 'SIGKILL');
    },
  },
});
const server = witnessServer(witness, [origin]);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`);
});
