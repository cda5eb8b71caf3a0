/** Where the installation keeps things: full URIs without trailing slash. */
export interface StoragePlaces {
  /** What clients upload: code, files, inputs. */
  readonly uploads: string;
  /** What runs write: inputs of children, outputs, reports, logs. A run may name another place (`run_base_dir`). */
  readonly runs: string;
  /** Files, directories and data frames of user code. A run may name another place (`raw_data_prefix`). */
  readonly rawData: string;
}
