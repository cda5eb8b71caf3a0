/** The values of flyteidl2.core.CatalogCacheStatus that an action takes. */
export const CacheStatus = { miss: 1, hit: 2, populated: 3 } as const;
