// Takes the place of packages that our dependencies load but that nothing of ours ever calls: see build.mjs.
'use strict';

class LeftOut {
  constructor() {
    throw new TypeError('this package was left out of the bundle by scripts/build.mjs');
  }
}

// fastify asks the selectors of its schema compilers for a compiler at its start, and calls that at the first schema.
module.exports = () => LeftOut;
