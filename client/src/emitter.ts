export type Fn = (...args: any[]) => any;

/** A copy of list without its first fn, or without all. */
export const without = (list: Fn[], fn?: Fn): Fn[] => {
  const i = list.findIndex((l: Fn & { fn?: Fn }) => l == fn || l.fn == fn);
  return fn ? list.filter((_, at) => at != i) : [];
};

/** A list of listeners per event, in order of registration. */
export class Emitter {
  private all_: Record<string, Fn[]> = Object.create(null);

  on(event: string, fn: Fn): this {
    (this.all_[event] ||= []).push(fn);
    return this;
  }

  once(event: string, fn: Fn): this {
    const first: Fn & { fn?: Fn } = (...args) => {
      this.off(event, first);
      fn.apply(this, args);
    };
    first.fn = fn;
    return this.on(event, first);
  }

  /** Removes one listener, all of an event, or all. */
  off(event?: string, fn?: Fn): this {
    if (!event) this.all_ = Object.create(null);
    else this.all_[event] = without(this.listeners(event), fn);
    return this;
  }

  listeners(event: string): Fn[] {
    return this.all_[event] || [];
  }

  hasListeners(event: string): boolean {
    return this.listeners(event).length > 0;
  }

  emit(event: string, ...args: any[]): any {
    return this.fire_(event, ...args);
  }

  /** Calls the listeners; what emit is where a class gives emit another meaning. */
  fire_(event: string, ...args: any[]): this {
    for (const fn of [...this.listeners(event)]) fn.apply(this, args);
    return this;
  }
}

const proto = Emitter.prototype as any;
proto.addEventListener = proto.addListener = proto.on;
proto.removeListener = proto.removeAllListeners = proto.removeEventListener = proto.off;
