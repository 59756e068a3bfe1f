import {
  boolean,
  integer,
  list,
  nullable,
  object,
  oneOf,
  partial,
  record,
  type Shaped,
  text,
} from '@metalhub/base/shape.js';
import { ACCOUNT_MODES } from '@metalhub/config/account-modes.js';
import { RELAXATIONS } from '@metalhub/config/relaxations.js';
import { PROFILE_NAME_PATTERN } from '@metalhub/wire/spawner.js';

const MIN_MEMORY_BYTES = 64 * 2 ** 20;
const MAX_MEMORY_BYTES = 2 ** 50;
const MAX_CPU = 9999;
const MAX_PROPERTY = 2 ** 50;

/** null: no limit. */
export const memoryBytes = nullable(integer(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES));
const name = text({ pattern: PROFILE_NAME_PATTERN, max: 63 });
const path = text({ pattern: /^\/[^\s\p{Cc}%$"'\\]*$/u, max: 1024 });
const optionalPath = text({ pattern: /^(?:\/[^\s\p{Cc}%$"'\\]*)?$/u, max: 1024 });
/** As metalhub.toml has it. */
const range = text({ pattern: /^(?:any|[0-9A-Fa-f:.]{2,45}(?:\/[0-9]{1,3})?)$/, max: 49 });
/** Programs, and template units. */
const hooks = list(text({ pattern: /^(?:\/[^\s\p{Cc}%$"'\\]+|[A-Za-z0-9:_.-]+@\.service)$/u, max: 255 }), 16);
/** 0: not set. */
const weight = integer(0, 10_000);

/** Properties of units that root may set at will; the keys of `properties` in metalhub.toml. */
export const PLAIN_PROPERTIES = {
  Nice: integer(-20, 19),
  OOMScoreAdjust: integer(-1000, 1000),
  LimitNOFILE: integer(64, 2 ** 30),
  LimitCORE: integer(0, MAX_PROPERTY),
  LimitMEMLOCK: integer(0, MAX_PROPERTY),
  LimitFSIZE: integer(0, MAX_PROPERTY),
  LimitSTACK: integer(65_536, 2 ** 40),
  LimitNPROC: integer(16, 4_000_000),
  LimitRTPRIO: integer(0, 99),
  MemoryZSwapMax: integer(0, MAX_PROPERTY),
  IOSchedulingPriority: integer(0, 7),
};

/** Keys as in metalhub.toml, except that sizes and processors are numbers. */
const SETTINGS = {
  account_mode: oneOf(...ACCOUNT_MODES),
  home: oneOf('kept', 'ephemeral'),
  python: text({ pattern: /^\/[^\s\p{Cc}%$"'\\]+$/u, max: 1024 }),
  /** Empty for JupyterLab. */
  command: list(text({ pattern: /^[^\p{Cc}]*$/u, max: 4096 }), 100),
  default_url: text({ pattern: /^\/[\x21-\x7e]*$/, max: 512 }),
  root_dir: text({ pattern: /^[^\p{Cc}]*$/u, max: 1024 }),
  memory_max_bytes: memoryBytes,
  memory_high_bytes: memoryBytes,
  memory_low_bytes: nullable(integer(0, MAX_MEMORY_BYTES)),
  swap_max_bytes: nullable(integer(0, MAX_MEMORY_BYTES)),
  cpu_quota_percent: integer(0, 100_000),
  cpu_weight: weight,
  cpu_set: list(integer(0, MAX_CPU), MAX_CPU + 1),
  tasks_max: integer(16, 4_000_000),
  io_weight: weight,
  variables: record(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, text({ pattern: /^[^\p{Cc}]*$/u, max: 4096 }), 200),
  devices: list(text({ pattern: /^\/dev(?:\/[A-Za-z0-9_:+-][A-Za-z0-9_.:+-]*)+$/, max: 255 }), 64),
  network: oneOf('full', 'none'),
  ip_allow: list(range, 1000),
  ip_deny: list(range, 1000),
  mounts: list(object({ source: path, target: path, write: boolean() }), 256),
  relax: list(oneOf(...RELAXATIONS), RELAXATIONS.length),
  root_directory: optionalPath,
  root_image: optionalPath,
  before_start: hooks,
  after_stop: hooks,
  properties: partial(PLAIN_PROPERTIES),
};

export const settingsShape = object(SETTINGS);
export const changesShape = partial(SETTINGS);
export const profileShape = object({
  name,
  settings: settingsShape,
  overrides: list(object({ name, changes: changesShape }), 100),
  choices: list(object({ name, options: list(object({ name, changes: changesShape }), 50) }), 10),
});

export type ProfileSettings = Shaped<typeof settingsShape>;
export type ProfileChanges = Shaped<typeof changesShape>;
export type ProfileEntry = Shaped<typeof profileShape>;
