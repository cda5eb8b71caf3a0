import { objectStoreConformance } from './conformance.ts';
import { openEmbedded } from './embedded.ts';

objectStoreConformance('the directory store', () => openEmbedded());
