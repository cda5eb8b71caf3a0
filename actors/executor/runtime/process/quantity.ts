const factors: Record<string, number> = {
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The number a Kubernetes quantity stands for (`128Mi` → 134217728, `500m` → 0.5), or undefined when it is none. */
export function parseQuantity(text: string): number | undefined {
  const match = /^([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:[eE]([+-]?\d+)|([mkMGTPE]|[KMGTPE]i))?$/.exec(text.trim());
  if (!match) return undefined;
  return match[2] === undefined ? Number(match[1]) * factors[match[3] ?? '']! : Number(`${match[1]}e${match[2]}`);
}
