import { expect } from 'chai';
import { crd, crdFiles } from './crd.ts';
import { docsFile } from './docs.ts';
import { parsersFile } from './parsers.ts';
import { readApi } from './read.ts';
import { parseComment, TagError } from './tags.ts';

type Json = Record<string, unknown>;

/** A resource whose spec has the given text between its braces. */
function apiOf(spec: string, more = ''): ReturnType<typeof readApi> {
  const source = `
/**
 * A thing.
 * @resource plural=things singular=thing shortName=th category=all
 * @column Ready .status.ready
 * @column Node-ID .status.id type=integer wide
 * @scale .spec.replicas .status.replicas .status.selector
 */
export interface Thing { apiVersion: 'g/v1'; kind: 'Thing'; metadata: Meta; spec: Spec }
/** @external */
interface Meta { name?: string }
export interface Spec {
${spec.replaceAll('; ', ';\n')}
}
${more}`;
  return readApi(new Map([['thing.ts', source]]), 'g', 'v1');
}

/** The schema of `spec.a`. */
function fieldSchema(spec: string, more = ''): Json {
  return specSchema(spec, more).properties.a as Json;
}

function specSchema(spec: string, more = ''): { properties: Json } & Json {
  const api = apiOf(spec, more);
  const made = crd(api, api.resources[0]!) as {
    spec: { versions: [{ schema: { openAPIV3Schema: { properties: { spec: { properties: Json } } } } }] };
  };
  return made.spec.versions[0].schema.openAPIV3Schema.properties.spec;
}

describe('codegen', () => {
  describe('tags', () => {
    it('refuses an unknown tag and names the place and the nearest known tag', () => {
      expect(() => apiOf('/** @maxLenght 3 */ a: string')).to.throw(
        TagError,
        'Spec.a: unknown tag @maxLenght; did you mean @maxLength?',
      );
      expect(() => apiOf('a: B', '/** @ruel x */ interface B { c: string }')).to.throw(
        'B: unknown tag @ruel; did you mean @rule?',
      );
    });

    it('refuses a tag that stands twice, one without its value, and one with a wrong value', () => {
      expect(() => parseComment('/**\n * @minimum 1\n * @minimum 2\n */', 'A')).to.throw('A: @minimum stands twice');
      expect(() => parseComment('/** @minimum */', 'A')).to.throw('A: @minimum needs a value');
      expect(() => parseComment('/** @minimum few */', 'A')).to.throw('A: @minimum needs a number, not few');
      expect(() => parseComment('/** @integer yes */', 'A')).to.throw('A: @integer takes no value');
      expect(() => parseComment('/** @default Auto */', 'A')).to.throw('A: @default needs JSON, not Auto');
    });

    it('refuses a rule without a message, and a line of a rule that it does not know', () => {
      expect(() => parseComment('/** @rule self > 1 */', 'A')).to.throw('A: @rule needs an expression and a message');
      expect(() => parseComment('/**\n * @rule self\n *   massage: no\n */', 'A')).to.throw(
        'A: a line of @rule begins with',
      );
    });

    it('reads prose over several lines, and an @ inside a rule', () => {
      const tags = parseComment(
        "/**\n * One\n * two.\n * @rule self.matches('^[^@]+@[^@]+$')\n *   message: m\n */",
        'A',
      );
      expect(tags.description).to.equal('One two.');
      expect(tags.rules).to.deep.equal([{ rule: "self.matches('^[^@]+@[^@]+$')", message: 'm' }]);
    });
  });

  describe('schema', () => {
    const bounds: readonly [tags: string, type: string, expected: Json][] = [
      ['@minLength 1\n@maxLength 3', 'string', { type: 'string', minLength: 1, maxLength: 3 }],
      ['@pattern ^a+$', 'string', { type: 'string', pattern: '^a+$' }],
      ['@integer\n@format int32', 'number', { type: 'integer', format: 'int32' }],
      ['@minimum 0\n@maximum 9\n@multipleOf 3', 'number', { type: 'number', minimum: 0, maximum: 9, multipleOf: 3 }],
      [
        '@minItems 1\n@maxItems 2\n@listType set',
        'string[]',
        { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 2, 'x-kubernetes-list-type': 'set' },
      ],
      [
        '@listType map\n@listMapKey name',
        'string[]',
        {
          type: 'array',
          items: { type: 'string' },
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
        },
      ],
      ['@itemMaxLength 5', 'string[]', { type: 'array', items: { type: 'string', maxLength: 5 } }],
      [
        '@minProperties 1\n@maxProperties 2\n@mapType atomic',
        'Record<string, string>',
        {
          type: 'object',
          additionalProperties: { type: 'string' },
          minProperties: 1,
          maxProperties: 2,
          'x-kubernetes-map-type': 'atomic',
        },
      ],
      [
        '@preserveUnknownFields',
        'Record<string, string>',
        { type: 'object', additionalProperties: { type: 'string' }, 'x-kubernetes-preserve-unknown-fields': true },
      ],
      ['@default "b"', "'a' | 'b'", { type: 'string', enum: ['a', 'b'], default: 'b' }],
      ['Words.', 'boolean', { description: 'Words.', type: 'boolean' }],
    ];
    for (const [tags, type, expected] of bounds) {
      it(`makes ${JSON.stringify(tags)} on ${type} into the schema's own words`, () => {
        expect(fieldSchema(`/**\n${tags}\n*/ a: ${type}`)).to.deep.equal(expected);
      });
    }

    it('takes a number or a string where @intOrString stands on an alias', () => {
      const made = fieldSchema('a: Share', '/** @intOrString */ type Share = number | string;');
      expect(made).to.deep.equal({
        'x-kubernetes-int-or-string': true,
        anyOf: [{ type: 'integer' }, { type: 'string' }],
      });
    });

    it('lets the bounds of the use win over those of the alias, and adds the rules up', () => {
      const alias = '/**\n * @maxLength 9\n * @rule r1\n *   message: m1\n */\ntype Word = string;';
      const made = fieldSchema('/**\n * @maxLength 3\n * @rule r2\n *   message: m2\n */ a: Word', alias);
      expect(made.maxLength).to.equal(3);
      expect(made['x-kubernetes-validations']).to.deep.equal([
        { rule: 'r1', message: 'm1' },
        { rule: 'r2', message: 'm2' },
      ]);
    });

    it('requires what has neither ? nor default, and by a rule what has @requiredMessage', () => {
      const made = specSchema(
        'a: string; b?: string; /** @default 1 */ c: number; /** @requiredMessage write d */ d: string',
      );
      expect(made.required).to.deep.equal(['a']);
      expect(made['x-kubernetes-validations']).to.deep.equal([
        { rule: 'has(self.d)', message: 'write d', fieldPath: '.d', reason: 'FieldValueRequired' },
      ]);
    });

    it('puts constants into rules, as a CEL list and as text, and refuses one that does not exist', () => {
      const rule = (name: string) =>
        `/**\n * @rule self in %${name}%\n *   message: one of %${name}:text%\n */ a: string`;
      const made = fieldSchema(rule('words'), "export const words = ['x', 'y'] as const;");
      expect(made['x-kubernetes-validations']).to.deep.equal([{ rule: "self in ['x', 'y']", message: 'one of x, y' }]);
      expect(() => fieldSchema(rule('other'))).to.throw('Spec.a: no constant other in src/api');
    });

    it('refuses a type that has no form, and names the place', () => {
      expect(() => apiOf('a: Map<string, string>')).to.throw(
        TagError,
        'Spec.a: Map<string, string> has no form in the API',
      );
      expect(() => crdFiles(apiOf('a: Nothing'))).to.throw('Nothing is used but not defined in src/api');
    });
  });

  it('registers columns, wide columns, short names and the scale subresource', () => {
    const api = apiOf('a: string');
    const { spec } = crd(api, api.resources[0]!) as { spec: { names: Json; versions: Json[] } };
    expect(spec.names).to.include({ kind: 'Thing', plural: 'things', singular: 'thing' });
    expect(spec.names.shortNames).to.deep.equal(['th']);
    expect(spec.versions[0]?.additionalPrinterColumns).to.deep.equal([
      { name: 'Ready', type: 'string', jsonPath: '.status.ready' },
      { name: 'Node ID', type: 'integer', jsonPath: '.status.id', priority: 1 },
    ]);
    expect(spec.versions[0]?.subresources).to.deep.equal({
      status: {},
      scale: {
        specReplicasPath: '.spec.replicas',
        statusReplicasPath: '.status.replicas',
        labelSelectorPath: '.status.selector',
      },
    });
  });

  it('makes parsers that let unknown fields through and fill in defaults', () => {
    const [text] = parsersFile(
      apiOf('/** @default {} */ a: B; b?: string', 'export interface B { c: string[] }'),
    ).values();
    expect(text).to.include('const zB: z.ZodType<api.B> = z.looseObject({\n  c: z.array(z.string()),\n});');
    expect(text).to.include('  a: zB.prefault({}),\n  b: z.string().exactOptional(),');
  });

  it('describes each field in the reference, the needed ones in bold', () => {
    const [text] = docsFile(apiOf('/** Words.\n * @maxLength 3\n */ a: string; b?: string')).values();
    expect(text).to.include('| **a** | string | Words. At most 3 characters. |');
    expect(text).to.include('| b | string |  |');
  });
});
