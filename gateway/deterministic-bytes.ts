import { create, type DescField, type DescMessage, type MessageShape, ScalarType, toBinary } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * The bytes other languages call the deterministic encoding: fields by number, the entries of maps by key, unknown fields last.
 * Hashes are made of it, so these must be the bytes that Python's `SerializeToString(deterministic=True)` gives.
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
      entries(writer, message, field);
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

function entries(writer: BinaryWriter, message: ReflectMessage, field: MapField): void {
  const map = message.get(field);
  const keys = [...map.keys()].sort((a, b) => Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b))));
  for (const key of keys) {
    const value = map.get(key);
    if (field.mapKey === ScalarType.STRING && field.mapKind === 'message') {
      const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(key as string);
      nested(entry, 2, value as ReflectMessage);
      writer.tag(field.number, WireType.LengthDelimited).bytes(entry.finish());
    } else {
      const single = field.mapKind === 'message' ? (value as ReflectMessage).message : value;
      writer.raw(
        toBinary(message.desc, create(message.desc, { [field.localName]: { [String(key)]: single } } as never)),
      );
    }
  }
}

type MapField = Extract<DescField, { fieldKind: 'map' }>;

/** A scalar, an enum or a list of them: encoded by the library as the only field of a message. */
function alone(message: ReflectMessage, field: DescField): Uint8Array {
  const { desc } = message;
  const properties = message.message as unknown as Readonly<Record<string, unknown>>;
  const name = field.oneof?.localName ?? field.localName;
  return toBinary(desc, create(desc, { [name]: properties[name] } as never));
}
