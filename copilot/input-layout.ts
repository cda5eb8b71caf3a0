import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { type Literal, LiteralSchema, type Scalar } from '../proto/gen/flyteidl2/core/literals_pb.js';
import { BlobType_BlobDimensionality } from '../proto/gen/flyteidl2/core/types_pb.js';
import { type Inputs, InputsSchema, NamedLiteralSchema } from '../proto/gen/flyteidl2/task/common_pb.js';
import { declarationFailure, told } from './failure.ts';
import { distinctNames, InputPaths } from './input-paths.ts';
import { fromJsonValue, type PlainValue } from './json-text.ts';
import { primitiveToText } from './primitive-text.ts';

export type FileInputLayout = 'DIRECT' | 'NAMED_DIR';

/**
 * One thing to put on disk for `variable`. `file` has its content here; `object` is one remote file; `tree` is everything below a
 * prefix, as a directory; `dataset` is either, whichever the store holds at the URI.
 */
export type InputStep = { readonly variable: string; readonly path: string } & (
  | { readonly kind: 'directory' }
  | { readonly kind: 'file'; readonly content: Uint8Array }
  | { readonly kind: 'object' | 'tree' | 'dataset'; readonly uri: string }
);

export type InputPlan = {
  steps: InputStep[];
  /** The inputs with the URIs of all remote data replaced by local paths: what inputs.pb holds. */
  localized: Inputs;
  /** All values by variable name: what inputs.json and inputs.yaml hold. */
  values: Map<string, PlainValue>;
};

export type LayoutOptions = {
  /** The directory as the main container sees it, absolute. */
  directory: string;
  layout: FileInputLayout;
  /** False leaves files, directories and datasets where they are: no steps, and their URIs stay remote (DO_NOT_DOWNLOAD). */
  fetchRemote: boolean;
};

/** What one literal becomes: itself with local URIs, and its plain value. */
type Placed = { literal: Literal; value: PlainValue };

/** The remote file a literal stands for, through any unions around it. */
const singleBlobUri = (literal: Literal): string | null => {
  const scalar = literal.value.case === 'scalar' ? literal.value.value.value : null;
  if (scalar?.case === 'union') return scalar.value.value === undefined ? null : singleBlobUri(scalar.value.value);
  if (scalar?.case !== 'blob') return null;
  const isTree = scalar.value.metadata?.type?.dimensionality === BlobType_BlobDimensionality.MULTIPART;
  return isTree ? null : scalar.value.uri;
};

const withScalar = (literal: Literal, value: Scalar['value']): Literal => ({
  ...literal,
  value: {
    case: 'scalar',
    value: literal.value.case === 'scalar' ? { ...literal.value.value, value } : ({ value } as Scalar),
  },
});

/** Walks literals and collects the steps; one per planInputs call. */
class Planner {
  readonly steps: InputStep[] = [];
  readonly #paths: InputPaths;
  readonly #options: LayoutOptions;
  #variable = '';

  constructor(options: LayoutOptions) {
    this.#paths = new InputPaths(options.directory);
    this.#options = options;
  }

  variable(name: string, literal: Literal): Placed {
    this.#variable = name;
    const place = this.#paths.variable(name);
    const uri = singleBlobUri(literal);
    if (this.#options.layout !== 'NAMED_DIR' || uri === null) return this.#place(literal, place);
    return this.#place(literal, path.join(place, distinctNames([uri])[0]!));
  }

  #place(literal: Literal, place: string): Placed {
    const { value } = literal;
    switch (value.case) {
      case 'scalar':
        return this.#scalar(literal, value.value, place);
      case 'collection': {
        const { literals } = value.value;
        this.#directory(place);
        const names = this.#elementNames(literals);
        const placed = literals.map((element, index) => this.#place(element, path.join(place, names[index]!)));
        const collection = { ...value.value, literals: placed.map(entry => entry.literal) };
        return {
          literal: { ...literal, value: { case: 'collection', value: collection } },
          value: placed.map(entry => entry.value),
        };
      }
      case 'map': {
        this.#directory(place);
        const placed = Object.entries(value.value.literals).map(
          ([key, entry]) => [key, this.#place(entry, this.#paths.entry(place, key))] as const,
        );
        const map = {
          ...value.value,
          literals: Object.fromEntries(placed.map(([key, entry]) => [key, entry.literal])),
        };
        return {
          literal: { ...literal, value: { case: 'map', value: map } },
          value: new Map(placed.map(([key, entry]) => [key, entry.value])),
        };
      }
      case 'offloadedMetadata':
        throw new Error('offloaded literals are resolved before the layout is planned');
      default:
        throw declarationFailure('the input has no value; pass one, or give the parameter a default');
    }
  }

  /** In NAMED_DIR, blobs are called like their file; everything else is its index. */
  #elementNames(literals: readonly Literal[]): string[] {
    if (this.#options.layout === 'DIRECT') return literals.map((_, index) => String(index));
    return distinctNames(literals.map((element, index) => singleBlobUri(element) ?? `/${index}`));
  }

  #scalar(literal: Literal, scalar: Scalar, place: string): Placed {
    const { value } = scalar;
    switch (value.case) {
      case 'primitive': {
        const text = primitiveToText(value.value);
        const inner = value.value.value;
        const plain = inner.case === undefined ? null : typeof inner.value === 'object' ? text : inner.value;
        return this.#text(literal, place, text, plain);
      }
      case 'noneType':
        return this.#text(literal, place, 'null', null);
      case 'binary':
        this.#file(place, value.value.value);
        return { literal, value: Buffer.from(value.value.value).toString('base64') };
      case 'error':
        return this.#text(literal, place, value.value.message, value.value.message);
      case 'generic':
        return this.#text(literal, place, JSON.stringify(value.value), fromJsonValue(value.value));
      case 'blob': {
        const isTree = value.value.metadata?.type?.dimensionality === BlobType_BlobDimensionality.MULTIPART;
        const uri = this.#remote(isTree ? 'tree' : 'object', value.value.uri, place);
        return { literal: withScalar(literal, { case: 'blob', value: { ...value.value, uri } }), value: uri };
      }
      case 'schema': {
        const uri = this.#remote('tree', value.value.uri, place);
        return { literal: withScalar(literal, { case: 'schema', value: { ...value.value, uri } }), value: uri };
      }
      case 'structuredDataset': {
        const uri = this.#remote('dataset', value.value.uri, place);
        const dataset = { ...value.value, uri };
        return { literal: withScalar(literal, { case: 'structuredDataset', value: dataset }), value: uri };
      }
      case 'union': {
        if (value.value.value === undefined) throw declarationFailure('a union without a value; pass the input again');
        const inner = this.#place(value.value.value, place);
        const union = { ...value.value, value: inner.literal };
        return { literal: withScalar(literal, { case: 'union', value: union }), value: inner.value };
      }
      default:
        throw declarationFailure(
          'a scalar without a value, or of a kind this co-pilot does not know; update the co-pilot',
        );
    }
  }

  #remote(kind: 'object' | 'tree' | 'dataset', uri: string, place: string): string {
    if (!this.#options.fetchRemote) return uri;
    if (uri === '') throw declarationFailure('it has no URI; pass a file that has been uploaded');
    this.#paths.claim(place, 'leaf');
    this.steps.push({ kind, variable: this.#variable, uri, path: place });
    return place;
  }

  #text(literal: Literal, place: string, text: string, value: PlainValue): Placed {
    this.#file(place, Buffer.from(text));
    return { literal, value };
  }

  #file(place: string, content: Uint8Array): void {
    this.steps.push({ kind: 'file', variable: this.#variable, path: this.#paths.claim(place, 'leaf'), content });
  }

  #directory(place: string): void {
    this.steps.push({ kind: 'directory', variable: this.#variable, path: this.#paths.claim(place, 'directory') });
  }
}

/**
 * Where every input goes on disk and what inputs.pb, inputs.json and inputs.yaml say (copilot.md §3.3 and §3.4). Pure. The literals
 * must be free of offloaded ones (offloaded-literal.ts).
 *
 * Differences from the reference: structured datasets are placed like directories or files; durations are Go text everywhere;
 * NaN and the infinities do not break inputs.json; names that would leave the directory or meet are refused.
 *
 * @throws CopilotFailure naming the input.
 */
export const planInputs = async (inputs: Inputs, options: LayoutOptions): Promise<InputPlan> => {
  const planner = new Planner(options);
  const values = new Map<string, PlainValue>();
  const localized = create(InputsSchema, { context: inputs.context });
  for (const { name, value } of inputs.literals) {
    const literal = value ?? create(LiteralSchema);
    const placed = await told(`input "${name}"`, async () => planner.variable(name, literal));
    values.set(name, placed.value);
    localized.literals.push(create(NamedLiteralSchema, { name, value: placed.literal }));
  }
  return { steps: planner.steps, localized, values };
};
