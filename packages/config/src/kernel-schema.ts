import { Type } from '@sinclair/typebox';
import { closed, nameList, offerTable } from './schema-parts.js';

const name = (example: string, description: string) =>
  Type.String({ pattern: '^[a-z0-9][a-z0-9_-]{0,62}$', examples: [example], description });
const PLACE = '(~/|/)[^\\p{Cc}]*';
const optionalPath = (description: string) =>
  Type.String({ pattern: `^(${PLACE})?$`, maxLength: 1024, default: '', description });

const offered = {
  allow: offerTable('Who is offered it. Everybody when empty.'),
  profiles: nameList('Names of the profiles in whose servers it is offered; all when empty.'),
};

export const kernelSchema = Type.Object(
  {
    name: name('igwn-py311', 'Unique among kernels and kernel roots; what notebooks remember.'),
    title: Type.String({
      minLength: 1,
      maxLength: 200,
      examples: ['IGWN Python 3.11'],
      description: 'What users see.',
    }),
    environment: Type.Optional(
      Type.String({
        pattern: `^${PLACE}$`,
        maxLength: 1024,
        examples: ['/opt/conda/envs/x'],
        description:
          'Directory of a conda or virtual environment, activated before the kernel starts. Below the home with ~/ in front.',
      }),
    ),
    command: Type.Array(Type.String({ minLength: 1, pattern: '^[^\\p{Cc}]*$', maxLength: 4096 }), {
      default: [],
      maxItems: 100,
      description:
        'Program of the kernel by its absolute path, and its words, {connection_file} among them. Without it the kernel that the environment has for the language.',
    }),
    language: Type.String({
      minLength: 1,
      maxLength: 64,
      pattern: '^[^\\p{Cc}]*$',
      default: 'python',
      description: 'Language of the kernel, as notebooks name it.',
    }),
    activate: optionalPath('Script for bash that is sourced before the kernel starts, after the environment.'),
    logo: optionalPath('Picture, PNG (64 by 64) or SVG; that of the environment when empty.'),
    variables: Type.Record(
      Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }),
      Type.String({ maxLength: 1024 }),
      {
        default: {},
        maxProperties: 100,
        additionalProperties: false,
        description: 'Environment variables of the kernel; only its user can read them.',
      },
    ),
    ...offered,
  },
  closed,
);

export const kernelRootSchema = Type.Object(
  {
    name: name('conda', 'Unique among kernels and kernel roots.'),
    path: Type.String({
      pattern: `^${PLACE}$`,
      maxLength: 1024,
      examples: ['/opt/conda'],
      description:
        'Directory with conda or virtual environments: those directly in it, or, when it is one itself, it and those in its directory envs. ~/.conda/envs for those of each user.',
    }),
    title: Type.String({
      minLength: 1,
      maxLength: 200,
      pattern: '^[^\\p{Cc}]*$',
      default: '{kernel} ({environment})',
      description:
        'What users see: {kernel} is what the kernel calls itself, {language} its language, {environment} the name of the environment.',
    }),
    include: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
      default: ['*'],
      maxItems: 1000,
      description: 'Names of the environments that are offered, with * and ? for any characters.',
    }),
    exclude: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
      default: [],
      maxItems: 1000,
      description: 'Names of those that are not, all the same.',
    }),
    ...offered,
  },
  closed,
);
