/**
 * Takes undici's place in the bundles (scripts/build.mjs): @fastify/reply-from loads it even when told to use Node's own
 * client, and it costs each worker about 8 MB. The names are those that reply-from refers to.
 */
class Unavailable {
  constructor() {
    throw new TypeError('undici is not part of this program');
  }
}

export {
  Unavailable as Agent,
  Unavailable as BalancedPool,
  Unavailable as Client,
  Unavailable as Dispatcher,
  Unavailable as Pool,
  Unavailable as ProxyAgent,
};

export function getGlobalDispatcher(): never {
  throw new TypeError('undici is not part of this program');
}
