/** A D-Bus value with its type, as properties carry it. */
export class Variant {
  /** One complete D-Bus type. */
  readonly signature: string;
  /** In the shape of {@link BusValue}, with arrays for structs. */
  readonly value: BusInput;

  constructor(signature: string, value: BusInput) {
    this.signature = signature;
    this.value = value;
  }
}

/** What can be sent: structs and arrays are arrays, dictionaries are objects, 64-bit integers are bigints. */
export type BusInput =
  | string
  | number
  | boolean
  | bigint
  | Buffer
  | Variant
  | readonly BusInput[]
  | { readonly [key: string]: BusInput };

/** What arrives: as {@link BusInput}, with variants unpacked. */
export type BusValue =
  | string
  | number
  | boolean
  | bigint
  | Buffer
  | readonly BusValue[]
  | { readonly [key: string]: BusValue };
