/**
 * Parts of the sandbox that a profile can be freed of, by what that allows. Setuid and setgid bits are not among them:
 * `DynamicUser=` rules them out.
 */
export const RELAXATIONS = ['namespaces', 'ptrace', 'realtime', 'other-architectures'] as const;
