/**
 * What a person sees: lines that stay, and below them a few that are redrawn in place (a progress line, the tree of a run). Log
 * lines go through here too, so that they do not tear the drawing apart. Without a terminal nothing is redrawn.
 */
export interface Screen {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

const ESCAPE = String.fromCharCode(27);
/** Colours take no room on the screen. */
const SGR = new RegExp(`${ESCAPE}\\[[0-9;]*m`, 'g');

export class Terminal {
  readonly #screen: Screen;
  #drawn: string[] = [];

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  get isLive(): boolean {
    return this.#screen.isTTY === true;
  }

  get width(): number {
    return this.#screen.columns ?? 100;
  }

  get height(): number {
    return this.#screen.rows ?? 24;
  }

  /** Prints lines that stay. */
  print(text: string): void {
    const drawn = this.#drawn;
    this.#erase();
    this.#screen.write(`${text}\n`);
    this.draw(drawn);
  }

  /** Replaces what is drawn below the lines that stay; does nothing without a terminal. */
  draw(lines: readonly string[]): void {
    if (!this.isLive) return;
    this.#erase();
    // A line that wraps would make the count of lines to go back wrong.
    this.#drawn = lines.slice(0, this.height - 1).map(line => cut(line, this.width - 1));
    if (this.#drawn.length > 0) this.#screen.write(`${this.#drawn.join('\n')}\n`);
  }

  /** Shows that something slow is under way until the returned function is called. */
  progress(text: string): () => void {
    const startedAt = Date.now();
    const words = () => `${text} … ${Math.round((Date.now() - startedAt) / 1000)} s`;
    if (this.isLive) this.draw([words()]);
    else this.print(`${text} …`);
    const timer = setInterval(() => this.draw([words()]), 1000);
    return () => {
      clearInterval(timer);
      this.draw([]);
      this.print(`${text}: ${Math.round((Date.now() - startedAt) / 1000)} s`);
    };
  }

  #erase(): void {
    if (this.#drawn.length > 0) this.#screen.write(`${ESCAPE}[${this.#drawn.length}A${ESCAPE}[J`);
    this.#drawn = [];
  }
}

function cut(line: string, width: number): string {
  const plain = line.replace(SGR, '');
  return plain.length <= width ? line : `${plain.slice(0, width - 1)}…`;
}
