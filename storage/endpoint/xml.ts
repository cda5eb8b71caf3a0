import { XMLParser, XMLValidator } from 'fast-xml-parser';

/** An element of escaped text, or of nested elements already rendered. */
export const element = (name: string, text: string | number | boolean): string =>
  `<${name}>${escapeText(String(text))}</${name}>`;
export const nested = (name: string, ...inner: string[]): string => `<${name}>${inner.join('')}</${name}>`;

/** A whole document. Only results (not errors) carry S3's namespace. */
export function xmlDocument(root: string, ...inner: string[]): string {
  const namespace = root === 'Error' ? '' : ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${namespace}>${inner.join('')}</${root}>`;
}

const parser = new XMLParser({ parseTagValue: false, trimValues: false, ignoreAttributes: true, removeNSPrefix: true });

/** Parses a request document into plain objects of strings; undefined when it is no well-formed XML or declares entities. */
export function parseXml(text: string): Record<string, unknown> | undefined {
  if (/<!DOCTYPE/i.test(text) || XMLValidator.validate(text) !== true) return undefined;
  return parser.parse(text) as Record<string, unknown>;
}

/** The children of that name, whether there are none, one or many. */
export function childrenOf(parent: unknown, name: string): unknown[] {
  if (typeof parent !== 'object' || parent === null) return [];
  const child = (parent as Record<string, unknown>)[name];
  return child === undefined ? [] : Array.isArray(child) ? child : [child];
}

export function textOf(parent: unknown, name: string): string | undefined {
  const [child] = childrenOf(parent, name);
  return typeof child === 'string' ? child : undefined;
}

const escapeText = (text: string): string =>
  text.replace(/[&<>"]/g, c => (c === '&' ? '&amp;' : c === '<' ? '&lt;' : c === '>' ? '&gt;' : '&quot;'));
