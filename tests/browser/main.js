// Every story, each in a browser of its own; exits 0 only if all of them held.

import { rm } from 'node:fs/promises';

import { Commune } from './commune.js';
import { Report } from './report.js';
import { OUT, Visitor, launch } from './visitor.js';
import { World } from './world.js';
import * as agent from './stories/agent.js';
import * as english from './stories/english.js';
import * as errors from './stories/errors.js';
import * as grant from './stories/grant.js';
import * as keyboard from './stories/keyboard.js';
import * as limitation from './stories/limitation.js';
import * as link from './stories/link.js';
import * as login from './stories/login.js';
import * as noScript from './stories/no_script.js';
import * as opposition from './stories/opposition.js';
import * as partition from './stories/partition.js';
import * as refusal from './stories/refusal.js';
import * as stepUp from './stories/step_up.js';
import * as tabs from './stories/tabs.js';
import * as withdrawal from './stories/withdrawal.js';

// Meshes side by side, each with a browser, so that all cores work; a story sees what those before it left. Leases are longer
// than the demonstration's, since a busy machine may stand still for longer than those last. The last mesh has a process a
// member, one of which its stories freeze, and leases long enough that what is under way is seen at leisure.
const LEASE = ['--lease-ms', '5000'];
const LANES = [
  { stories: [grant, withdrawal, refusal, tabs], demo: LEASE },
  { stories: [login, stepUp, noScript, keyboard, english, errors, link, agent, opposition], demo: LEASE },
  { stories: [partition, limitation], demo: ['--processes', '--lease-ms', `${partition.LEASE_MS}`] },
];

const report = new Report();
const cleanups = [];
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end().then(() => process.exit(1)));

async function end() {
  for (const clean of cleanups.splice(0).reverse()) await clean();
}

async function tell(story, browser, world, commune) {
  const visitor = await Visitor.come(browser, world, story.options);
  const check = (name, what) => report.check(`${story.name}: ${name}`, what);
  try {
    await story.run({ visitor, commune, world, browser, check });
    await check('the browser complained of nothing and asked no other host', () => visitor.behaved());
  } catch (error) {
    if (!error.said) await report.check(story.name, () => Promise.reject(error)).catch(() => {});
    for (const problem of visitor.problems) console.log(`      ${problem}`);
    await visitor.keep(`failed-${story.name.replaceAll(' ', '-')}`).catch(() => {});
  } finally {
    await visitor.leave();
  }
}

async function lane({ stories, demo }) {
  const world = await World.raise(process.env.UNEFOIS, demo);
  cleanups.push(() => world.lower());
  const commune = await Commune.open(world.socket);
  cleanups.push(() => commune.close());
  const browser = await launch(commune);
  cleanups.push(() => browser.close());
  for (const story of stories) await tell(story, browser, world, commune);
}

const asked = (story) => !process.argv[2] || story.name === process.argv[2];
await rm(OUT, { recursive: true, force: true });
const lanes = LANES.map((lane) => ({ ...lane, stories: lane.stories.filter(asked) }));
const told = lanes.filter(({ stories }) => stories.length > 0);
for (const { reason } of await Promise.allSettled(told.map(lane))) {
  if (!reason) continue;
  report.failed += 1;
  console.log(`FAIL  ${reason.stack}`);
}
await end();
console.log(`\n${report.passed} passed, ${report.failed} failed`);
process.exitCode = report.failed > 0 || report.passed === 0 ? 1 : 0;
