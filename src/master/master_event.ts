/**
 * What the namespace reports besides its answers: for logs and metrics.
 * @module
 */
export type NamespaceEvent =
  | { readonly kind: "namespaceInitialized"; readonly rootUfsUri: string }
  /** A backup was being brought in when the leader before ended: nothing is served until it is there. */
  | { readonly kind: "restoreInterrupted"; readonly progress: string }
  /** The configured root under store is not the journal's; the journal's is used. */
  | {
      readonly kind: "rootUfsDiffers";
      readonly configuredUri: string;
      readonly journaledUri: string;
    }
  /** A change in the under store failed for now, and is tried again. */
  | {
      readonly kind: "intentDelayed";
      readonly intentId: number;
      readonly what: string;
      readonly message: string;
      readonly retryInMs: number;
    }
  /** The under store refuses a change for good; it stays in the journal as a witness. */
  | {
      readonly kind: "intentRefused";
      readonly intentId: number;
      readonly what: string;
      readonly message: string;
    }
  /** A name in the under store that no path can have. */
  | { readonly kind: "ufsNameSkipped"; readonly ufsPath: string; readonly name: string }
  | { readonly kind: "backgroundFailed"; readonly what: string; readonly message: string };
