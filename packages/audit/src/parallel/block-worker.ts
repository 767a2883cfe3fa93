/** A thread that verifies blocks and gives each back with its end, in the order in which they came. */
import { parentPort } from 'node:worker_threads';
import { nodeSha256 } from '../node-sha256.ts';
import { type Block, verifyBlock } from '../verify/block.ts';

parentPort?.on('message', (block: Block) => {
  const end = verifyBlock(block, nodeSha256);
  parentPort?.postMessage({ end, bytes: block.bytes }, [block.bytes.buffer as ArrayBuffer]);
});
parentPort?.postMessage('ready');
