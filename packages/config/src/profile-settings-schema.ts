import { Type } from '@sinclair/typebox';
import { ACCOUNT_MODES } from './account-modes.js';
import { RELAXATIONS } from './relaxations.js';
import { bytes, closed } from './schema-parts.js';

const PATH = '^/[^\\s\\p{Cc}%$"\'\\\\]*$';
const HOOK = '^(/[^\\s\\p{Cc}%$"\'\\\\]+|[A-Za-z0-9:_.-]+@\\.service)$';
const OPTIONAL_PATH = '^(/[^\\s\\p{Cc}%$"\'\\\\]*)?$';

const whole = (minimum: number, maximum: number, fallback: number, description: string) =>
  Type.Integer({ minimum, maximum, default: fallback, description });
const limit = (minimum: number, maximum: number, description: string) =>
  Type.Optional(Type.Integer({ minimum, maximum, description }));
const addresses = (description: string) =>
  Type.Array(Type.String({ pattern: '^(any|[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?)$' }), {
    default: [],
    maxItems: 1000,
    description,
  });

const hooks = (description: string) =>
  Type.Array(Type.String({ pattern: HOOK, maxLength: 255 }), { default: [], maxItems: 16, description });

/** What a server of a profile is; overrides and options may change each of them. */
export const SETTINGS = {
  account_mode: Type.String({
    pattern: `^(${ACCOUNT_MODES.join('|')})?$`,
    default: '',
    description: 'As whom the server runs; empty for what accounts.mode says.',
  }),
  home: Type.String({
    pattern: '^(kept|ephemeral)$',
    default: 'kept',
    description:
      'kept: the home of the user; ephemeral: one that each server gets for itself, empty but for /etc/skel, and that is gone for good when the server ends, for whatever reason. It lies in memory, and counts as such: memory_max is the most it can hold.',
  }),
  python: Type.String({
    pattern: '^/[^\\s\\p{Cc}%$"\'\\\\]+$',
    maxLength: 1024,
    default: '/usr/bin/python3',
    description: "Absolute path of the environment's Python; its JupyterLab is started.",
  }),
  environment: Type.String({
    pattern: OPTIONAL_PATH,
    maxLength: 1000,
    default: '',
    description:
      'Directory of a conda or virtual environment, as /opt/conda/envs/x; stands for its bin/python and takes the place of python.',
  }),
  command: Type.Array(Type.String({ pattern: '^[^\\p{Cc}]*$', maxLength: 4096 }), {
    default: [],
    maxItems: 100,
    description:
      'Another program than JupyterLab, with its words: one that speaks HTTP below {base_url}, on the UNIX socket {socket}, on {port} of 127.0.0.1, or on the listening descriptor {fd}. Every account of the machine can reach a port, except with network = "none".',
  }),
  default_url: Type.String({
    pattern: '^/[\\x21-\\x7e]*$',
    maxLength: 512,
    default: '/lab',
    description: "Page that JupyterLab opens first, below the server's address.",
  }),
  root_dir: Type.String({
    pattern: '^[^\\p{Cc}]*$',
    maxLength: 1024,
    default: '',
    description:
      'Directory that the file browser shows; empty for the home. Without a slash in front one below the home, made when it is missing.',
  }),
  memory_max: bytes('Memory at which the server is killed (MemoryMax=).', '4G'),
  memory_high: bytes('Memory at which the server is slowed down (MemoryHigh=).', ''),
  memory_low: bytes('Memory that is not taken from it as long as others have more (MemoryLow=).', ''),
  swap_max: bytes('Swap space (MemorySwapMax=); 0 for none.', ''),
  cpu_quota_percent: whole(0, 100_000, 0, 'Processor time in percent of one core (CPUQuota=); 0 for no limit.'),
  cpu_weight: whole(
    0,
    10_000,
    0,
    "Share of the processors when they are all busy, against other users' 100 (CPUWeight=); 0 for the usual 100.",
  ),
  cpu_set: Type.String({
    pattern: '^([0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*)?$',
    default: '',
    description: 'Processors that it may use (AllowedCPUs=), as 0-3,6; empty for all.',
  }),
  tasks_max: whole(16, 4_000_000, 4096, 'Processes and threads (TasksMax=).'),
  io_weight: whole(
    0,
    10_000,
    0,
    "Share of a busy disk, against other users' 100 (IOWeight=); 0 for the usual 100. Needs a scheduler such as bfq.",
  ),
  variables: Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }), Type.String({ maxLength: 4096 }), {
    default: {},
    maxProperties: 200,
    additionalProperties: false,
    description:
      'Environment variables. Every account of the machine can read them: nothing secret. Those that decide which program runs (PATH, LD_*, PYTHON* and the like) and those of metalhub are refused.',
  }),
  devices: Type.Array(Type.String({ pattern: '^/dev(/[A-Za-z0-9_:+-][A-Za-z0-9_.:+-]*)+$', maxLength: 255 }), {
    default: [],
    maxItems: 64,
    description:
      'Device nodes that it may use, as /dev/nvidia0; no other is there. The file permission of the node counts as well.',
  }),
  network: Type.String({
    pattern: '^(full|none)$',
    default: 'full',
    description:
      'full: as any account of the machine, within ip_allow and ip_deny; none: no network, not even that of the machine itself.',
  }),
  ip_allow: addresses(
    'Addresses or ranges, as 192.0.2.0/24, that it may exchange packets with in spite of ip_deny (IPAddressAllow=). Names need a name server: allow its address, too.',
  ),
  ip_deny: addresses('Addresses or ranges that it may not; any for all (IPAddressDeny=).'),
  mounts: Type.Array(
    Type.Object(
      {
        source: Type.String({ pattern: PATH, maxLength: 1024, description: 'Directory or file of the machine.' }),
        target: Type.String({
          pattern: OPTIONAL_PATH,
          maxLength: 1024,
          default: '',
          description: 'Where it appears; empty for the same path.',
        }),
        write: Type.Boolean({ default: false, description: 'Can be written, as far as its file permissions allow.' }),
      },
      closed,
    ),
    {
      default: [],
      maxItems: 64,
      description:
        'Further directories, as { source = "/srv/course", write = true }: with target another path, without write read-only. One whose source is missing makes the start fail.',
    },
  ),
  relax: Type.Array(Type.String({ pattern: `^(${RELAXATIONS.join('|')})$` }), {
    default: [],
    maxItems: RELAXATIONS.length,
    description:
      'Parts of the sandbox to do without. namespaces: containers without root (apptainer, bwrap), at the cost of a much larger part of the kernel in reach of a user; ptrace: debuggers (gdb, strace, py-spy) on own processes; realtime: real-time scheduling, which can starve the machine; other-architectures: 32-bit programs.',
  }),
  root_directory: Type.String({
    pattern: OPTIONAL_PATH,
    maxLength: 1024,
    default: '',
    description:
      'Directory with another system that the server sees as / (RootDirectory=), as debootstrap makes one, with its own python.',
  }),
  root_image: Type.String({
    pattern: OPTIONAL_PATH,
    maxLength: 1024,
    default: '',
    description: 'The same as an image file or block device (RootImage=).',
  }),
  before_start: hooks(
    'What to do before the server starts, in this order: programs, by their absolute path, run as the user in the sandbox of the server, with METALHUB_USER, METALHUB_SERVER and METALHUB_PROFILE; template units, as quota@.service, run as their own file says (as root unless it has User=), with the key of the user as instance (%i), before the programs. Type=oneshot is for that. All within server.start_timeout_sec (a unit: TimeoutStartSec= of its own). What fails keeps the server from starting, and its output is in the log of the server, or of the unit. Only root may be able to write to programs and to the directories above them. When the home turns out to hold files of others, these are given to the user and the start is made again, with all of before_start and after_stop.',
  ),
  after_stop: hooks(
    'What to do after the server has ended, also by a failed start, in the same two ways; programs also have SERVICE_RESULT, EXIT_CODE and EXIT_STATUS of systemd.exec(5), and server.stop_timeout_sec. What fails here is only logged.',
  ),
  properties: Type.Object(
    {
      Nice: limit(-20, 19, 'Scheduling priority.'),
      OOMScoreAdjust: limit(-1000, 1000, 'Who is killed first when the machine has no memory.'),
      LimitNOFILE: limit(64, 2 ** 30, 'Open files.'),
      LimitCORE: limit(0, 2 ** 50, 'Bytes of a core dump.'),
      LimitMEMLOCK: limit(0, 2 ** 50, 'Bytes locked into memory.'),
      LimitFSIZE: limit(0, 2 ** 50, 'Bytes of one file.'),
      LimitSTACK: limit(65_536, 2 ** 40, 'Bytes of a stack.'),
      LimitNPROC: limit(16, 4_000_000, 'Processes of the account.'),
      LimitRTPRIO: limit(0, 99, 'Real-time priority; with relax = ["realtime"].'),
      MemoryZSwapMax: limit(0, 2 ** 50, 'Bytes of compressed swap.'),
      IOSchedulingPriority: limit(0, 7, 'Priority at the disk; 0 is the highest.'),
    },
    {
      ...closed,
      default: {},
      description: 'Further properties of the unit, by the names of systemd; no others than these.',
    },
  ),
};
