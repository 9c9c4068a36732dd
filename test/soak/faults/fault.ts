/** What a fault is. */
import type { Random } from '../../simulation/random.ts';
import type { SoakNode, World } from '../world.ts';

export interface Strike {
  world: World;
  node: SoakNode;
  random: Random;
  /** How long it lasts before it is mended. */
  seconds: number;
}

export interface Struck {
  /** What the timeline says besides the name. */
  told?: string;
  /** None: it is over when it has been struck, and nothing need be waited for. */
  mend?: () => Promise<void>;
}

export interface Fault {
  /** Never together with another one: it wants a cluster that is well. */
  alone?: true;
  /** Ends the process of the daemon. */
  ends?: true;
  /** It is not the target alone that it hits. */
  everywhere?: true;
  strike: (strike: Strike) => Promise<Struck>;
}
