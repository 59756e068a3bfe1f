/** What the pages show; the backend makes these from its own state. All text in them is unescaped. */

/** As in the hub's server table; `spawn` and `stop` are under way. */
export type ServerState = 'stopped' | 'spawn' | 'ready' | 'stop' | 'failed';

export interface FailureView {
  /** One sentence, for the user: "JupyterLab ended while it was starting." */
  readonly message: string;
  /** What the user or an administrator can do about it. */
  readonly hint?: string;
  /** The unit's own last lines, oldest first; may be empty. */
  readonly logLines: readonly string[];
}

/** Why, and when, the hub ends a server by itself. */
export interface EndView {
  readonly reason: 'idle' | 'age';
  readonly atMs: number;
  /** The limit that is reached then. */
  readonly limitSec: number;
}

export interface ServerView {
  /** `''` is the default server. */
  readonly name: string;
  readonly state: ServerState;
  /** Path on this site that opens the server, as `/user/anna/`. */
  readonly url: string;
  /** Milliseconds since the epoch; `null` unless the server runs. */
  readonly startedAtMs: number | null;
  /** Title of the profile it runs or would be started with. */
  readonly profileTitle: string;
  /** Its sentence for users; `''` for none. */
  readonly profileDescription: string;
  /** Shown with state `failed`. */
  readonly failure?: FailureView;
  /** With `ready`: its processes stand still. */
  readonly isFrozen: boolean;
  /** With `ready`: when a program of it was last ended for want of memory. */
  readonly outOfMemoryMs?: number;
  /** With `stopped`, when the hub ended it. */
  readonly ended?: EndView;
  /** With `ready`, when it will be ended soon. */
  readonly ending?: EndView;
}

/** A kind of server that the user may start. */
export interface ProfileView {
  readonly name: string;
  readonly title: string;
  /** `''` for none. */
  readonly description: string;
  /** Marked at first. */
  readonly isChosen: boolean;
  readonly choices: readonly ChoiceView[];
}

export interface ChoiceView {
  readonly name: string;
  readonly title: string;
  readonly options: readonly { readonly name: string; readonly title: string; readonly isChosen: boolean }[];
}

/** One step of a start; also the JSON of each `message` event of the progress stream. */
export interface ProgressEvent {
  /** 0 to 100. */
  readonly progress: number;
  readonly message: string;
  /** Equal stages replace each other in the list of steps; without one each message is a step of its own. */
  readonly stage?: string;
  readonly ready?: boolean;
  readonly failed?: boolean;
  /** Where to go, with `ready`. */
  readonly url?: string;
  /** With `failed`. */
  readonly failure?: FailureView;
}
