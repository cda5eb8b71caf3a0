import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  BlobMetadataSchema,
  BlobSchema,
  type Literal,
  LiteralCollectionSchema,
  LiteralMapSchema,
  LiteralSchema,
  SchemaSchema,
  StructuredDatasetMetadataSchema,
  StructuredDatasetSchema,
} from '../proto/gen/flyteidl2/core/literals_pb.js';
import { BlobType_BlobDimensionality, type LiteralType } from '../proto/gen/flyteidl2/core/types_pb.js';
import { declarationFailure, told, userFailure } from './failure.ts';
import { fromJsonText, type PlainValue } from './json-text.ts';
import type { Found, OutputFiles } from './output-files.ts';
import { jsonLiteral } from './output-json.ts';
import { enumLiteral, textLiteral, trimmed, utf8 } from './output-text.ts';
import { firstVariant, noneOf, scalarLiteral, typeName, unionLiteral } from './output-type.ts';

/** What one value in a file of its own may have: the inline limit of the SDK (sdk.md §5.4). */
export const MAX_VALUE_BYTES = 10 * 1024 * 1024;

/** The aggregate: values by variable name, for outputs that have no file of their own. */
export const AGGREGATE_OUTPUTS = 'outputs.json';

/** A file or a directory that has to be at `uri` before outputs.pb may say so. */
export type Upload = { readonly uri: string; readonly source: Found };

export type CollectorOptions = {
  files: OutputFiles;
  /** URI below which data goes: a variable's at `<rawPrefix>/<variable>`, an element's at `…/<variable>/<position>`. */
  rawPrefix: string;
  /** False: the file of a File, Dir or dataset output holds a URI, and nothing is uploaded (DO_NOT_UPLOAD). */
  uploadRemote: boolean;
};

/** Where a value comes from, and where its data would go. */
type Slot = { readonly found: Found; readonly place: readonly (string | number)[] };

const INDEX = /^\d+$/;
const URI = /^[a-z][a-z0-9+.-]*:\/\/\S+$/i;

/**
 * The elements of a list directory in order: names that are all numbers are the indexes 0 to n-1, other names go in byte order.
 */
const inListOrder = (names: string[], directory: string): string[] => {
  if (!names.every(name => INDEX.test(name))) return names;
  const ordered = [...names].sort((a, b) => Number(a) - Number(b));
  const missing = ordered.findIndex((name, index) => name !== String(index));
  if (missing >= 0)
    throw userFailure(`${directory} has no element ${missing}; number the elements from 0 without gaps`);
  return ordered;
};

/** Turns what the main container wrote into literals, and notes what has to be uploaded for them. One per task. */
export class OutputCollector {
  /** By URI. A union may try a variant that does not fit and leave an upload nobody points to; that costs bytes, nothing else. */
  readonly uploads = new Map<string, Upload>();
  readonly #options: CollectorOptions;
  #aggregate: Promise<Map<string, PlainValue>> | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /**
   * The value of an output: from its own file or directory, else from outputs.json, else "no value" if its type has one.
   *
   * @throws CopilotFailure naming the file, what is wrong with it and what to do.
   */
  async collect(name: string, type: LiteralType): Promise<Literal> {
    const { files } = this.#options;
    const found = await files.variable(name);
    if (found !== null) return told(found.path, () => this.#literal(type, { found, place: [name] }));
    const values = await (this.#aggregate ??= this.#readAggregate());
    const value = values.get(name);
    if (value !== undefined) {
      return told(`${path.join(files.directory, AGGREGATE_OUTPUTS)}`, () =>
        jsonLiteral(value, type, (reference, inner, place) => this.#reference(reference, inner, [name, ...place])),
      );
    }
    const none = noneOf(type);
    if (none !== null) return none;
    const file = path.join(files.directory, name);
    throw userFailure(
      `the command wrote neither ${file} (or ${name}.<extension>) nor "${name}" in ${AGGREGATE_OUTPUTS}; ` +
        `write the value (${typeName(type)}) to ${file} before the command ends, or remove the output from the task`,
    );
  }

  async #readAggregate(): Promise<Map<string, PlainValue>> {
    const { files } = this.#options;
    const found = await files.at(AGGREGATE_OUTPUTS);
    if (found === null) return new Map();
    return told(found.path, async () => {
      if (found.kind === 'directory') throw userFailure('it is a directory; write a file');
      const value = fromJsonText(utf8(await files.read(found, MAX_VALUE_BYTES)));
      if (!(value instanceof Map)) throw userFailure('it must be a JSON object with an entry for each output');
      return value;
    });
  }

  async #literal(type: LiteralType, slot: Slot): Promise<Literal> {
    switch (type.type.case) {
      case 'simple':
        return textLiteral(await this.#content(slot.found), type.type.value);
      case 'enumType':
        return enumLiteral(trimmed(await this.#content(slot.found)), type.type.value.values);
      case 'blob':
      case 'schema':
      case 'structuredDatasetType':
        if (!this.#options.uploadRemote) return this.#uriLiteral(type, trimmed(await this.#content(slot.found)));
        return this.#upload(type, slot);
      case 'collectionType':
      case 'mapValueType':
        return slot.found.kind === 'directory' ? this.#elements(type, slot) : this.#json(type, slot);
      case 'unionType':
        return firstVariant(
          type.type.value.variants,
          async variant => {
            const none = noneOf(variant);
            if (none !== null && trimmed(await this.#content(slot.found)) !== 'null')
              throw userFailure('it is not null');
            return none ?? this.#literal(variant, slot);
          },
          unionLiteral,
        );
      default:
        throw declarationFailure('its type is not one this co-pilot knows; update the co-pilot');
    }
  }

  async #content(found: Found): Promise<Uint8Array> {
    if (found.kind === 'directory') throw userFailure('it is a directory; write the value to a file of this name');
    return this.#options.files.read(found, MAX_VALUE_BYTES);
  }

  async #json(type: LiteralType, { found, place }: Slot): Promise<Literal> {
    const value = fromJsonText(trimmed(await this.#content(found)));
    return jsonLiteral(value, type, (reference, inner, below) =>
      this.#reference(reference, inner, [...place, ...below]),
    );
  }

  async #elements(type: LiteralType, { found, place }: Slot): Promise<Literal> {
    const { files } = this.#options;
    const isList = type.type.case === 'collectionType';
    const inner = type.type.value as LiteralType;
    const names = await files.names(found);
    const entries: [string, Literal][] = [];
    for (const name of isList ? inListOrder(names, found.path) : names) {
      const file = path.join(found.path, name);
      const element = await files.at(file);
      if (element === null) throw userFailure(`${file} is a link to nothing; remove it`);
      const slot = { found: element, place: [...place, entries.length] };
      entries.push([name, await told(file, () => this.#literal(inner, slot))]);
    }
    if (!isList) {
      const map = create(LiteralMapSchema, { literals: Object.fromEntries(entries) });
      return create(LiteralSchema, { value: { case: 'map', value: map } });
    }
    const collection = create(LiteralCollectionSchema, { literals: entries.map(([, literal]) => literal) });
    return create(LiteralSchema, { value: { case: 'collection', value: collection } });
  }

  /** A File, Dir or dataset named in JSON: a URI is taken as it is, anything else is a path in the output directory. */
  async #reference(reference: string, type: LiteralType, place: Slot['place']): Promise<Literal> {
    if (URI.test(reference)) return this.#uriLiteral(type, reference);
    if (!this.#options.uploadRemote) throw userFailure(`${JSON.stringify(reference)} is not a URI`);
    const found = await this.#options.files.at(reference);
    if (found === null) {
      throw userFailure(`there is no ${reference} in ${this.#options.files.directory}; name a path relative to it`);
    }
    return this.#upload(type, { found, place });
  }

  #upload(type: LiteralType, { found, place }: Slot): Literal {
    const isFile = found.kind === 'file';
    if (type.type.case === 'blob') {
      const wantsFile = type.type.value.dimensionality === BlobType_BlobDimensionality.SINGLE;
      if (isFile !== wantsFile) {
        throw userFailure(
          `it is a ${found.kind}, but the output is declared as ${typeName(type)}; write the other, or redeclare it`,
        );
      }
    }
    const uri = [this.#options.rawPrefix.replace(/\/+$/, ''), ...place].join('/');
    // Readers of schemas and datasets look for files below the URI, so a single file goes one level down, under the name
    // the SDK gives to its own.
    const isBelow = isFile && type.type.case !== 'blob';
    const object = isBelow ? `${uri}/${found.path.endsWith('.csv') ? 'data.csv' : '00000'}` : uri;
    this.uploads.set(object, { uri: object, source: found });
    return this.#uriLiteral(type, uri, found.path.endsWith('.csv') ? 'csv' : 'parquet');
  }

  /** The literal of type `type` that points to `uri`, with the declared format. */
  #uriLiteral({ type }: LiteralType, uri: string, datasetFormat = 'parquet'): Literal {
    if (!URI.test(uri)) throw userFailure(`${JSON.stringify(uri.slice(0, 200))} is not a URI`);
    switch (type.case) {
      case 'blob': {
        const blob = create(BlobSchema, { uri, metadata: create(BlobMetadataSchema, { type: type.value }) });
        return scalarLiteral({ case: 'blob', value: blob });
      }
      case 'schema':
        return scalarLiteral({ case: 'schema', value: create(SchemaSchema, { uri, type: type.value }) });
      case 'structuredDatasetType': {
        const structuredDatasetType = { ...type.value, format: type.value.format || datasetFormat };
        const metadata = create(StructuredDatasetMetadataSchema, { structuredDatasetType });
        return scalarLiteral({ case: 'structuredDataset', value: create(StructuredDatasetSchema, { uri, metadata }) });
      }
      default:
        throw new Error(`a literal of ${type.case} has no URI`);
    }
  }
}
