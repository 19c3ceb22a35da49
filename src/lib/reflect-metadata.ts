/**
 * The certificate library's container (tsyringe) refuses to load without the metadata calls of a proposal that no
 * engine has. It needs these three. Import this before the library.
 */
interface Metadata {
  defineMetadata(key: unknown, value: unknown, target: object): void;
  getOwnMetadata(key: unknown, target: object): unknown;
  getMetadata(key: unknown, target: object): unknown;
}

const reflect = Reflect as typeof Reflect & Partial<Metadata>;
if (!reflect.getMetadata) {
  const store = new WeakMap<object, Map<unknown, unknown>>();
  const own = (key: unknown, target: object) => store.get(target)?.get(key);
  reflect.defineMetadata = (key, value, target) => {
    store.set(target, (store.get(target) ?? new Map()).set(key, value));
  };
  reflect.getOwnMetadata = own;
  reflect.getMetadata = own;
}

export {};
