/** What a PAM module may ask for, by its number. @see pam_conv(3) */
export const PROMPT_ECHO_OFF = 1;
export const PROMPT_ECHO_ON = 2;
export const ERROR_MESSAGE = 3;
export const TEXT_INFO = 4;

// PAM_MAX_NUM_MSG
const MAX_MESSAGES = 32;
// A module that keeps asking gets the same answer, so there is no use in letting it go on.
const MAX_PROMPTS = 8;

export interface Credentials {
  /** Both are C strings in UTF-8, their final NUL included, so that they can be overwritten. */
  readonly name: Buffer;
  readonly password: Buffer;
}

/**
 * Makes the answering side of one conversation: hidden prompts get the password, visible ones the name.
 *
 * The returned function takes the styles of one call's messages and gives one answer each, `null` where none is due; or
 * `undefined`, when the conversation cannot go on: a style that is not text, too many messages, or endless prompts.
 */
export function createConversation(
  credentials: Credentials,
): (styles: readonly number[]) => readonly (Buffer | null)[] | undefined {
  let prompts = 0;
  return (styles) => {
    if (styles.length === 0 || styles.length > MAX_MESSAGES) return undefined;
    const answers: (Buffer | null)[] = [];
    for (const style of styles) {
      const answer = answerOf(style, credentials);
      if (answer === undefined) return undefined;
      if (answer !== null) prompts++;
      answers.push(answer);
    }
    return prompts > MAX_PROMPTS ? undefined : answers;
  };
}

function answerOf(style: number, { name, password }: Credentials): Buffer | null | undefined {
  switch (style) {
    case PROMPT_ECHO_OFF:
      return password;
    case PROMPT_ECHO_ON:
      return name;
    case ERROR_MESSAGE:
    case TEXT_INFO:
      return null;
    default:
      return undefined;
  }
}
