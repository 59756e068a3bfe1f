// dbus-next declares types of its high-level face only; these are the three inner modules that bus-codec.ts uses.

declare module 'dbus-next/lib/dbus-buffer.js' {
  class DBusBuffer {
    constructor(buffer: Buffer, startPos: number, endian: number, fds: undefined, options: { ayBuffer: boolean });
    read(signature: string): unknown[];
    align(power: number): void;
  }
  export default DBusBuffer;
}

declare module 'dbus-next/lib/marshall-compat.js' {
  const marshallCompat: {
    messageToJsFmt(message: { signature: string; body: unknown[] }): { body: unknown[] };
    marshallMessage(message: object): [data: Buffer, fds: number[]];
  };
  export default marshallCompat;
}

declare module 'dbus-next/lib/variant.js' {
  const variant: { Variant: new (signature: string, value: unknown) => { signature: string; value: unknown } };
  export default variant;
}
