import { expect } from 'chai';
import { readValues, schemaOf, valuesReference } from './codegen-values.ts';

const SOURCE = `# About the file.

# The program.
program:
  # How many.
  # @schema { minimum: 1, maximum: 9 }
  replicas: 2
  # Where it may
  # run.
  # @schema { shape: labels }
  nodeSelector: {}
# Names | of secrets.
# @schema { items: reference }
secrets: []
`;

describe('the chart’s values', () => {
  it('become a closed schema with a description and bounds for each', () => {
    const { $schema: _, ...schema } = JSON.parse(schemaOf(SOURCE));
    const { global, ...properties } = schema.properties;
    expect(schema).to.include({ type: 'object', additionalProperties: false });
    expect(global.type).to.equal('object');
    expect(properties).to.deep.equal({
      program: {
        description: 'The program.',
        type: 'object',
        additionalProperties: false,
        properties: {
          replicas: { description: 'How many.', type: 'integer', minimum: 1, maximum: 9 },
          nodeSelector: {
            description: 'Where it may run.',
            type: 'object',
            additionalProperties: { type: 'string' },
          },
        },
      },
      secrets: {
        description: 'Names | of secrets.',
        type: 'array',
        items: { type: 'object', required: ['name'], properties: { name: { type: 'string', minLength: 1 } } },
      },
    });
  });
  it('become a table with name, type, default and what it is', () => {
    const text = valuesReference(SOURCE);
    expect(text).to.contain('| `program.replicas` | integer, 1 to 9 | `2` | How many. |\n');
    expect(text).to.contain('| `secrets` | list of objects | `[]` | Names \\| of secrets. |\n');
    expect(text).to.contain('## program\n\nThe program.\n');
  });
  for (const [what, source, message] of [
    ['no comment', 'a: 1\n', 'a has no comment'],
    ['only the comment of the file', '# File.\n\na: 1\n', 'a has no comment'],
    ['an empty map of no known shape', '# A.\na: {}\n', 'a is empty'],
    ['a list of unknown things', '# A.\na: []\n', 'a is a list'],
    ['a bound that nobody knows', '# A.\n# @schema { least: 1 }\na: 1\n', 'least'],
  ] as const)
    it(`are refused with ${what}`, () => {
      expect(() => readValues(source)).to.throw(message);
    });
});
