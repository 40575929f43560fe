interface Watched {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/** Tells many of the abort of a signal that they share, by one listener: from the eleventh on, Node.js warns of a leak. */
export class AbortWatch {
  private readonly watched = new Map<AbortSignal, Watched>();

  /** Has `onAbort` called when the signal is aborted, until the function that is returned is called. */
  add(signal: AbortSignal, onAbort: () => void): () => void {
    const watched = this.watched.get(signal) ?? this.watch(signal);
    watched.callbacks.add(onAbort);
    return () => {
      watched.callbacks.delete(onAbort);
      if (watched.callbacks.size > 0) return;
      signal.removeEventListener('abort', watched.listener);
      this.watched.delete(signal);
    };
  }

  private watch(signal: AbortSignal): Watched {
    const callbacks = new Set<() => void>();
    const listener = (): void => {
      for (const callback of callbacks) callback();
    };
    const watched = { callbacks, listener };
    signal.addEventListener('abort', listener, { once: true });
    this.watched.set(signal, watched);
    return watched;
  }
}
