import t from 'tap';
import { findSurplus, type GenerationLoad } from './surplus.js';

const MEBIBYTE = 2 ** 20;
const load = (generation: number, connections: number, memory = 30): GenerationLoad => ({
  generation,
  connections,
  memoryBytes: memory * MEBIBYTE,
});
const newest = load(9, 3);
const numbers = (loads: GenerationLoad[]): number[] => loads.map(({ generation }) => generation);
const roomy = { maxGenerations: 64, maxMemoryBytes: 2048 * MEBIBYTE };

t.test('within the limits nothing ends', async (t) => {
  const earlier = Array.from({ length: 63 }, (_, index) => load(index + 10, index));
  t.same(findSurplus(newest, earlier, roomy), []);
  t.same(findSurplus(undefined, [], { maxGenerations: 2, maxMemoryBytes: 0 }), []);
});

t.test('too many: those with the fewest connections end, of equal ones the oldest', async (t) => {
  const earlier = [load(5, 2), load(3, 1), load(4, 1), load(2, 40), load(1, 7)];
  t.same(numbers(findSurplus(newest, earlier, { ...roomy, maxGenerations: 4 })), [3, 4]);
  t.same(numbers(findSurplus(newest, earlier, { ...roomy, maxGenerations: 2 })), [3, 4, 5, 1]);
});

t.test('too much memory: as many end as is needed, never the newest', async (t) => {
  const earlier = [load(1, 100, 400), load(2, 1, 50), load(3, 2, 50)];
  t.same(numbers(findSurplus(newest, earlier, { ...roomy, maxMemoryBytes: 500 * MEBIBYTE })), [2]);
  t.same(numbers(findSurplus(newest, earlier, { ...roomy, maxMemoryBytes: 440 * MEBIBYTE })), [2, 3]);
  t.same(numbers(findSurplus(load(9, 0, 900), earlier, { ...roomy, maxMemoryBytes: 500 * MEBIBYTE })), [2, 3, 1]);
});
