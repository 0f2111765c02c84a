// The mesh under test: one process of the binary, in a folder of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const UP_WITHIN_MS = 180_000;

export class World {
  // Starts `demo --stay`, with these arguments more, and waits until it says where everything listens.
  static async raise(binary, more = []) {
    const folder = await mkdtemp(join(tmpdir(), 'unefois-browser-'));
    const child = spawn(binary, ['demo', '--stay', '--dir', folder, '--json', ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const world = new World(folder, child);
    const said = [];
    child.stderr.on('data', (text) => said.push(text));
    const limit = setTimeout(() => child.kill('SIGKILL'), UP_WITHIN_MS);
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        const step = JSON.parse(line);
        if (step.step !== 'up') continue;
        world.addresses = step.addresses;
        child.stdout.resume();
        return world;
      }
    } finally {
      clearTimeout(limit);
    }
    await world.lower();
    throw new Error(`the demonstration did not start: ${Buffer.concat(said)}`);
  }

  constructor(folder, child) {
    this.folder = folder;
    this.child = child;
  }

  get socket() {
    return join(this.folder, 'clamart', 'backoffice.sock');
  }

  // The process of one member, in a world of processes.
  async processOf(member) {
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (line.includes('\0serve\0') && line.includes(`${this.folder}/${member}/`)) return Number(pid);
    }
    throw new Error(`${member} has no process`);
  }

  // Ends the process and takes its folder away.
  async lower() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const end = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      const limit = setTimeout(() => this.child.kill('SIGKILL'), 60_000);
      await end;
      clearTimeout(limit);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
