// Results of the cluster cases as one table: operation by direction. A result may
// have a reason, which becomes a note below the table.

export class Table {
  #columns = [];
  #rows = new Map();
  #notes = [];

  record(row, column, result, reason) {
    if (!this.#columns.includes(column)) this.#columns.push(column);
    if (!this.#rows.has(row)) this.#rows.set(row, new Map());
    this.#rows.get(row).set(column, reason ? `${result} [${this.#note(reason)}]` : result);
  }

  #note(reason) {
    if (!this.#notes.includes(reason)) this.#notes.push(reason);
    return this.#notes.indexOf(reason) + 1;
  }

  toString() {
    const rows = [...this.#rows.entries()];
    const width = Math.max(...rows.map(([row]) => row.length), 0);
    const widths = this.#columns.map((column) =>
      Math.max(column.length, ...rows.map(([, cells]) => (cells.get(column) ?? "").length)));
    const line = (row, cells) =>
      `${row.padEnd(width)} | ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")}`.trimEnd();
    return [
      line("operation", this.#columns),
      ...rows.map(([row, cells]) => line(row, this.#columns.map((column) => cells.get(column) ?? ""))),
      ...this.#notes.map((reason, i) => `[${i + 1}] ${reason}`),
    ].join("\n");
  }
}
