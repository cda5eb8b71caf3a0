import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { allSettings } from '../../deploy/config.ts';
import { configurationPage, helpText } from '../../deploy/config-doc.ts';

describe('words about the configuration', () => {
  it('docs/configuration.md is what the schema says (node deploy/launch.mjs deploy/config-doc.ts writes it)', () => {
    const page = path.resolve(import.meta.dirname, '../../docs/configuration.md');
    expect(readFileSync(page, 'utf8')).to.equal(configurationPage());
  });

  it('help explains every setting with its variable, within the width', () => {
    const help = helpText(100);
    for (const { path: name, variable } of allSettings()) expect(help).to.include(`${name}  (${variable})`);
    for (const line of help.split('\n')) expect(line.length, line).to.be.at.most(100);
    expect(help).to.include('--no-demo').and.include('--port N');
  });
});
