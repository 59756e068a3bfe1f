// For esbuild: puts the code that ajv makes of the configuration's schemas in the place of ajv and the schemas.
import { dirname, join } from 'node:path';
import { Ajv } from 'ajv';
import standalone from 'ajv/dist/standalone/index.js';
import { build } from 'esbuild';

export const aheadOfTime = {
  name: 'ahead-of-time',
  setup({ onLoad }) {
    onLoad({ filter: /\/packages\/config\/src\/validator\.ts$/ }, async ({ path }) => {
      const { ajvOptions, schemas } = await importSource(join(dirname(path), 'validator-input.ts'));
      const ajv = new Ajv({ ...ajvOptions, code: { source: true, esm: true } });
      for (const [name, schema] of Object.entries(schemas)) ajv.addSchema(schema, name);
      const names = Object.keys(schemas);
      const code = standalone.default(ajv, Object.fromEntries(names.map((name) => [name, name])));
      const contents = `${code}
const validators = { ${names.join(', ')} };
export function findMistake(what, table) {
  return validators[what](table) ? undefined : validators[what].errors?.[0];
}`;
      return { contents, resolveDir: dirname(path), loader: 'js' };
    });
  },
};

async function importSource(path) {
  const { outputFiles } = await build({ entryPoints: [path], bundle: true, format: 'esm', write: false });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}
