/** A session in an index. */
export interface Member {
  readonly key: string;
  /** The time of entry in microseconds of the backend's clock; unique within an index. */
  readonly score: number;
}

/** Members of an index in the order of their entry. */
export interface IndexPage {
  readonly members: readonly Member[];
  /** The number of members in the whole index, including those of ended sessions. */
  readonly size: number;
  /** The time of the read in Unix milliseconds of the backend's clock. */
  readonly at: number;
}

/**
 * The minimum age at which a member without a session is removed from an index. Before, its session may still be written: up
 * to 30 seconds after the entry, and as much again for the difference between the clocks of servers.
 */
export const MIN_PRUNE_AGE = 60_000;

/** The result of `extend`. */
export interface IndexSample {
  /** Whether the key was not in the index before. */
  readonly isNew: boolean;
  /** The time of the call in Unix milliseconds of the backend's clock. */
  readonly at: number;
  /**
   * At most two members from any place in the index. Over many calls each member must occur, because the store removes
   * stale members when it sees them here.
   */
  readonly sample: readonly Member[];
}

/** The result of `enter`. */
export interface EnteredPage extends IndexPage, IndexSample {
  /** The score with which the key entered. */
  readonly score: number;
}
