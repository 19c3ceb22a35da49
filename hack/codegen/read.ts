/** TypeScript → the intermediate form. */
import {
  type InterfaceDeclaration,
  Node,
  Project,
  type SourceFile,
  type TypeAliasDeclaration,
  type TypeNode,
} from 'ts-morph';
import type { Api, Column, Field, NamedType, Resource, Scale, Shape } from './model.ts';
import { noTags, parseComment, type Rule, TagError, type Tags } from './tags.ts';

/**
 * Reads interfaces and type aliases of the files.
 * @param sources file name → text
 * @throws TagError naming the place of an unknown tag, an unknown constant or a type that has no form
 */
export function readApi(sources: ReadonlyMap<string, string>, group: string, version: string): Api {
  const project = new Project({ useInMemoryFileSystem: true, skipLoadingLibFiles: true });
  const files = [...sources].map(([name, text]) => project.createSourceFile(name, text));
  const constants = new Map(files.flatMap(readConstants));
  const types = new Map<string, NamedType>();
  for (const file of files) {
    for (const declaration of file.getInterfaces()) add(types, readInterface(declaration, constants));
    for (const declaration of file.getTypeAliases()) {
      const alias = readAlias(declaration, constants);
      if (alias !== undefined) add(types, alias);
    }
  }
  const resources: Resource[] = [];
  for (const type of types.values()) {
    const resource = type.tags.values.resource;
    if (typeof resource === 'string') resources.push(readResource(type.name, resource, type.tags));
  }
  resources.sort((a, b) => a.plural.localeCompare(b.plural, 'en'));
  return { group, version, resources, types };
}

function add(types: Map<string, NamedType>, type: NamedType): void {
  if (types.has(type.name)) throw new TagError(`${type.name} is defined twice in src/api`);
  types.set(type.name, type);
}

type Constants = ReadonlyMap<string, readonly string[]>;

/** `const name = ['a', 'b'] as const`: in rules `%name%` is the list in CEL, `%name:text%` the list for people. */
function readConstants(file: SourceFile): [string, readonly string[]][] {
  return file.getVariableDeclarations().flatMap((declaration): [string, readonly string[]][] => {
    const initializer = declaration.getInitializer();
    const array = Node.isAsExpression(initializer) ? initializer.getExpression() : initializer;
    if (!Node.isArrayLiteralExpression(array)) return [];
    const elements = array.getElements();
    if (!elements.every((element) => Node.isStringLiteral(element))) return [];
    return [[declaration.getName(), elements.map((element) => element.getLiteralValue())]];
  });
}

function tagsOf(
  node: InterfaceDeclaration | TypeAliasDeclaration | { getJsDocs(): { getText(): string }[] },
  where: string,
  constants: Constants,
): Tags {
  const comment = node.getJsDocs().at(-1)?.getText();
  if (comment === undefined) return noTags;
  const tags = parseComment(comment, where);
  return { ...tags, rules: tags.rules.map((rule) => substitute(rule, constants, where)) };
}

function substitute(rule: Rule, constants: Constants, where: string): Rule {
  const fill = (text: string): string =>
    text.replace(/%(\w+)(:text)?%/g, (_, name: string, forPeople: string | undefined) => {
      const values = constants.get(name);
      if (values === undefined) throw new TagError(`${where}: no constant ${name} in src/api`);
      return forPeople === undefined ? `[${values.map((value) => `'${value}'`).join(', ')}]` : values.join(', ');
    });
  const { messageExpression } = rule;
  return {
    ...rule,
    rule: fill(rule.rule),
    message: fill(rule.message),
    ...(messageExpression === undefined ? {} : { messageExpression: fill(messageExpression) }),
  };
}

function readInterface(declaration: InterfaceDeclaration, constants: Constants): NamedType {
  const name = declaration.getName();
  const tags = tagsOf(declaration, name, constants);
  const external = tags.values.external === true;
  const fields = declaration.getProperties().map((property): Field => {
    const where = `${name}.${property.getName()}`;
    return {
      name: property.getName(),
      optional: property.hasQuestionToken(),
      shape: readShape(property.getTypeNode(), where),
      tags: tagsOf(property, where, constants),
    };
  });
  return { kind: 'object', name, tags, fields, external };
}

/** Aliases that have no form (such as `keyof typeof x`) carry no tags and are left out. */
function readAlias(declaration: TypeAliasDeclaration, constants: Constants): NamedType | undefined {
  const name = declaration.getName();
  const tags = tagsOf(declaration, name, constants);
  if (tags.values.intOrString === true) return { kind: 'alias', name, tags, shape: { kind: 'intOrString' } };
  const node = declaration.getTypeNode();
  if (Node.isTypeOperatorTypeNode(node) || Node.isIndexedAccessTypeNode(node)) return undefined;
  return { kind: 'alias', name, tags, shape: readShape(node, name) };
}

function readShape(node: TypeNode | undefined, where: string): Shape {
  if (node === undefined) throw new TagError(`${where} has no type`);
  const text = node.getText();
  if (text === 'string' || text === 'number' || text === 'boolean') return { kind: text };
  if (Node.isParenthesizedTypeNode(node)) return readShape(node.getTypeNode(), where);
  if (Node.isArrayTypeNode(node)) return { kind: 'list', item: readShape(node.getElementTypeNode(), where) };
  if (Node.isLiteralTypeNode(node) || Node.isUnionTypeNode(node)) {
    const literals = Node.isUnionTypeNode(node) ? node.getTypeNodes() : [node];
    return { kind: 'enum', values: literals.map((literal) => readLiteral(literal, where)) };
  }
  if (Node.isTypeReference(node)) {
    const name = node.getTypeName().getText();
    const [key, value] = node.getTypeArguments();
    if (name === 'Record' && key?.getText() === 'string') return { kind: 'map', value: readShape(value, where) };
    if (name !== 'Record' && key === undefined) return { kind: 'ref', name };
  }
  throw new TagError(
    `${where}: ${text} has no form in the API; write string, number, boolean, literals, T[], Record<string, T> or a named type`,
  );
}

function readLiteral(node: TypeNode, where: string): string {
  const literal = Node.isLiteralTypeNode(node) ? node.getLiteral() : undefined;
  if (!Node.isStringLiteral(literal)) throw new TagError(`${where}: only unions of string literals are enumerations`);
  return literal.getLiteralValue();
}

function readResource(kind: string, text: string, tags: Tags): Resource {
  const options = new Map(
    text.split(/\s+/).map((part): [string, string] => {
      const [key = '', value = ''] = part.split('=');
      return [key, value];
    }),
  );
  const option = (name: string): string => {
    const value = options.get(name);
    if (value === undefined || value === '') throw new TagError(`${kind}: @resource needs ${name}=…`);
    return value;
  };
  const scale = tags.values.scale;
  return {
    kind,
    plural: option('plural'),
    singular: option('singular'),
    shortNames: [option('shortName')],
    categories: [option('category')],
    columns: tags.columns.map((column) => readColumn(column, kind)),
    ...(typeof scale === 'string' ? { scale: readScale(scale, kind) } : {}),
  };
}

/** `Name .json.path [type=integer] [wide]`; a "-" in the name stands for a blank. */
function readColumn(text: string, kind: string): Column {
  const [name, jsonPath, ...options] = text.split(/\s+/);
  if (name === undefined || jsonPath === undefined) throw new TagError(`${kind}: @column needs a name and a path`);
  const type = options.find((option) => option.startsWith('type='))?.slice('type='.length) ?? 'string';
  return { name: name.replaceAll('-', ' '), jsonPath, type, wide: options.includes('wide') };
}

function readScale(text: string, kind: string): Scale {
  const [specReplicasPath, statusReplicasPath, labelSelectorPath] = text.split(/\s+/);
  if (specReplicasPath === undefined || statusReplicasPath === undefined || labelSelectorPath === undefined) {
    throw new TagError(`${kind}: @scale needs three paths`);
  }
  return { specReplicasPath, statusReplicasPath, labelSelectorPath };
}
