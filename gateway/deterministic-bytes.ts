import { create, type DescField, type DescMessage, type MessageShape, ScalarType, toBinary } from '@bufbuild/protobuf';
import { type ReflectMap, type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * The bytes other languages call the deterministic encoding: fields by number, the entries of maps by key, unknown fields last.
 * Hashes are made of it, so these must be the bytes that Python's `SerializeToString(deterministic=True)` gives.
 * @throws TypeError for a map whose keys are no strings or whose values are numbers: the contract hashes none
 */
export function deterministicBytes<D extends DescMessage>(schema: D, message: MessageShape<D>): Uint8Array {
  return encode(reflect(schema as DescMessage, message));
}

function encode(message: ReflectMessage): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of message.sortedFields) {
    if (!message.isSet(field)) continue;
    if (field.fieldKind === 'message') {
      nested(writer, field.number, message.get(field));
    } else if (field.fieldKind === 'list' && field.listKind === 'message') {
      for (const item of message.get(field)) nested(writer, field.number, item as ReflectMessage);
    } else if (field.fieldKind === 'map') {
      entries(writer, field, message.get(field));
    } else {
      writer.raw(alone(message, field));
    }
  }
  for (const unknown of message.getUnknown() ?? []) writer.tag(unknown.no, unknown.wireType).raw(unknown.data);
  return writer.finish();
}

function nested(writer: BinaryWriter, number: number, message: ReflectMessage): void {
  writer.tag(number, WireType.LengthDelimited).bytes(encode(message));
}

function entries(writer: BinaryWriter, field: DescField & { fieldKind: 'map' }, map: ReflectMap): void {
  const ofStrings = field.mapKind === 'scalar' && field.scalar === ScalarType.STRING;
  if (field.mapKey !== ScalarType.STRING || !(ofStrings || field.mapKind === 'message')) {
    throw new TypeError(
      `${field} has no deterministic encoding here: only maps from strings to strings or messages have`,
    );
  }
  const keys = ([...map.keys()] as string[]).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const key of keys) {
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(key);
    const value = map.get(key);
    if (ofStrings) entry.tag(2, WireType.LengthDelimited).string(value as string);
    else nested(entry, 2, value as ReflectMessage);
    writer.tag(field.number, WireType.LengthDelimited).bytes(entry.finish());
  }
}

/** A scalar, an enum or a list of them: encoded by the library as the only field of a message. */
function alone(message: ReflectMessage, field: DescField): Uint8Array {
  const { desc } = message;
  const properties = message.message as unknown as Readonly<Record<string, unknown>>;
  const name = field.oneof?.localName ?? field.localName;
  return toBinary(desc, create(desc, { [name]: properties[name] } as never));
}
