/**
 * MessagePack with the entries of every map sorted by the bytes of their keys, at any depth; all else stays as it is. Two objects that
 * differ only in the order of their keys become the same bytes, the ones the SDK hashes (sdk.md §5.7).
 * @returns the same array when nothing is to be moved or the bytes are no single MessagePack value
 */
export function canonicalMsgpack(data: Uint8Array): Uint8Array {
  try {
    const reader = new Reader(data);
    const value = reader.value();
    return reader.atEnd ? value : data;
  } catch (error) {
    if (error instanceof RangeError) return data;
    throw error;
  }
}

const MAX_DEPTH = 512;

class Reader {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #depth = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  get atEnd(): boolean {
    return this.#at === this.#data.length;
  }

  /** The next value in canonical form. @throws RangeError when the bytes end within it or nest too deeply */
  value(): Uint8Array {
    const start = this.#at;
    const type = this.#view.getUint8(this.#at++);
    if (type <= 0x7f || type >= 0xe0) return this.#since(start);
    if (type <= 0x8f) return this.#map(start, type & 0x0f);
    if (type <= 0x9f) return this.#array(start, type & 0x0f);
    if (type <= 0xbf) return this.#skip(start, type & 0x1f);
    switch (type) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return this.#since(start);
      case 0xc4:
      case 0xd9:
        return this.#skip(start, this.#length(1));
      case 0xc5:
      case 0xda:
        return this.#skip(start, this.#length(2));
      case 0xc6:
      case 0xdb:
        return this.#skip(start, this.#length(4));
      case 0xc7:
        return this.#skip(start, this.#length(1) + 1);
      case 0xc8:
        return this.#skip(start, this.#length(2) + 1);
      case 0xc9:
        return this.#skip(start, this.#length(4) + 1);
      case 0xcc:
      case 0xd0:
        return this.#skip(start, 1);
      case 0xcd:
      case 0xd1:
        return this.#skip(start, 2);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#skip(start, 4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#skip(start, 8);
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#skip(start, 1 + 2 ** (type - 0xd4));
      case 0xdc:
        return this.#array(start, this.#length(2));
      case 0xdd:
        return this.#array(start, this.#length(4));
      case 0xde:
        return this.#map(start, this.#length(2));
      case 0xdf:
        return this.#map(start, this.#length(4));
      default:
        throw new RangeError(`0x${type.toString(16)} begins no MessagePack value`);
    }
  }

  #length(bytes: 1 | 2 | 4): number {
    const at = this.#at;
    this.#at += bytes;
    if (bytes === 1) return this.#view.getUint8(at);
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #skip(start: number, bytes: number): Uint8Array {
    this.#at += bytes;
    if (this.#at > this.#data.length) throw new RangeError('the bytes end within a MessagePack value');
    return this.#since(start);
  }

  #since(start: number): Uint8Array {
    return this.#data.subarray(start, this.#at);
  }

  #array(start: number, length: number): Uint8Array {
    const parts = [this.#since(start)];
    this.#deeper(() => {
      for (let i = 0; i < length; i++) parts.push(this.value());
    });
    return Buffer.concat(parts);
  }

  #map(start: number, length: number): Uint8Array {
    const header = this.#since(start);
    const entries: (readonly [Uint8Array, Uint8Array])[] = [];
    this.#deeper(() => {
      for (let i = 0; i < length; i++) {
        const keyStart = this.#at;
        this.value();
        // A key is hashed as it stands: Python sorts no map inside of a key, because no map can be one.
        entries.push([this.#since(keyStart), this.value()]);
      }
    });
    entries.sort(([a], [b]) => Buffer.compare(a, b));
    return Buffer.concat([header, ...entries.flat()]);
  }

  #deeper(read: () => void): void {
    if (++this.#depth > MAX_DEPTH) throw new RangeError('the MessagePack value nests too deeply');
    read();
    this.#depth--;
  }
}
